"""The command line: the server and both faces of the client, as programs of their own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from chat_example.__main__ import main
from chat_example.protocol import Did, Joined, Left, Said, Whispered
from tests.netserver.backplane.brokers import required_nats

if TYPE_CHECKING:
    from tests.chat_example.conftest import Chat, Visit

PATIENCE = 20.0
COMMAND = [sys.executable, "-m", "chat_example"]


def run(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], input=typed, capture_output=True, text=True, timeout=PATIENCE
    )


# ---------------------------------------------------------------- plain lines


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_a_script_chats(chat: Chat, visit: Visit, scheme: str) -> None:
    bob = visit(chat.tcp, "bob")
    done = run(
        "join", chat.url(scheme), "--nick", "ada", typed="hello\n\n/me waves\n/msg bob psst\nlast"
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    lines.remove("you to bob, in private: psst")  # not in one order with what rooms are told
    assert lines == [
        "* welcome, ada; /help lists the commands",
        "* you are in #lobby with bob",
        "ada: hello",
        "* ada waves",
        "ada: last",
        "* goodbye",
    ]
    heard = [type(bob.next()) for _ in range(6)]
    heard.remove(Whispered)
    assert heard == [Joined, Said, Did, Said, Left]


def test_a_long_script_is_no_flood(chat: Chat) -> None:
    lines = [f"line {number}" for number in range(20)]
    done = run("join", chat.tcp, "--nick", "ada", typed="\n".join(lines))
    assert done.stdout.splitlines()[2:] == [*(f"ada: {line}" for line in lines), "* goodbye"]


def test_a_script_is_told_that_its_nickname_is_taken(chat: Chat, visit: Visit) -> None:
    visit(chat.tcp, "ada")
    done = run("join", chat.tcp, "--nick", "ada", typed="hello\n")
    assert done.returncode == 1
    assert "somebody else is called ada" in done.stdout


def test_a_script_that_goes_on_after_its_goodbye(chat: Chat) -> None:
    lines = ["/quit", *(f"line {number}" for number in range(200))]
    done = run("join", chat.tcp, "--nick", "ada", typed="\n".join(lines))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "* goodbye"


def test_a_server_of_another_kind() -> None:
    def answer() -> None:
        peer, _ = listening.accept()
        with peer:
            peer.sendall(b"220 mail.example ready\r\n")
            peer.recv(1024)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer)
        answering.start()
        port = listening.getsockname()[1]
        done = run("join", f"tcp://127.0.0.1:{port}", "--nick", "ada", typed="hello\n")
        answering.join()
    assert done.returncode == 1
    assert "the connection ended" in done.stdout


def test_what_goes_wrong_is_said_in_one_line(chat: Chat) -> None:
    port = chat.tcp.rpartition(":")[2]
    for arguments, words in [
        (["join", "tcp://127.0.0.1:1"], "Is the server running?"),
        (["join", "http://127.0.0.1:1"], "begins with none of"),
        (["join", chat.tcp, "--nick", "a b"], "a nickname has no spaces"),
        (["join", chat.tcp, "--room", "a b"], "a room's name"),
        (["serve", "--port", port], "in use"),
        (["serve", "--port", "0", "--tcp-port", port], "in use"),
    ]:
        done = run(*arguments)
        assert done.returncode == 1, arguments
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
    assert "not 'x'" in run("serve", "--port", "x").stderr


@pytest.mark.parametrize("url", ["x://", "nats://127.0.0.1?bogus=1"])
def test_a_backplane_that_makes_no_sense(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "0", "--tcp-port", "0", "--cluster", url]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert url in said.err


def test_help() -> None:
    assert "serve" in run("--help").stdout
    assert "tcp://127.0.0.1:5500" in run("join", "--help").stdout
    assert "8765" in run("serve", "--help").stdout


# ---------------------------------------------------------------- a terminal


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, command: list[str]) -> None:
        self._master, slave = pty.openpty()
        # Without a terminal emulator nobody answers the question where the cursor is.
        environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            # Its own, so that Ctrl-C is a signal whenever the terminal is not in raw mode.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until some text was written, since the last one that was waited for."""
        while text not in self.seen:
            ready, _, _ = select.select([self._master], [], [], PATIENCE)
            assert ready, self.seen
            try:
                data = os.read(self._master, 65536)
            except OSError:  # how Linux tells that the program has closed its end
                data = b""
            assert data, self.seen
            plain = re.sub(rb"\x1b\[[0-9;?]*[ -/]*[@-~]", b"", data)
            self.seen += plain.decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str, command: list[str] = COMMAND) -> Terminal:
        opened.append(Terminal([*command, *arguments]))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_a_person_chats(chat: Chat, visit: Visit, terminal: Callable[..., Terminal]) -> None:
    bob = visit(chat.ws, "Quentin")
    screen = terminal("join", chat.tcp, "--nick", "ada")
    # The prompt comes again after each message; from then on the keys are not the terminal's.
    screen.wait_for("you are in #lobby with Quentin")
    screen.wait_for("ada>")
    assert bob.expect(Joined).nick == "ada"
    screen.type("hello there\r")
    assert bob.expect(Said).text == "hello there"
    screen.wait_for("ada: hello there")
    screen.wait_for("ada>")
    screen.type("half a ")
    screen.wait_for("half a")
    bob.says("hello ada")
    screen.wait_for("Quentin: hello ada")
    screen.wait_for("ada>")
    screen.type("line\r")
    bob.skip_to(Said, lambda said: said.text == "half a line")
    screen.wait_for("ada: half a line")
    screen.wait_for("ada>")
    screen.type("/msg Q\t")
    screen.wait_for("uentin")
    screen.type("psst\r")
    assert bob.expect(Whispered).text == "psst"
    screen.wait_for("in private: psst")
    screen.wait_for("ada>")
    screen.type("\x1b[A\x1b[A\r")
    assert bob.expect(Said).text == "half a line"
    screen.wait_for("ada: half a line")
    screen.wait_for("ada>")
    screen.type("\x04")
    screen.wait_for("goodbye")
    assert screen.process.wait(PATIENCE) == 0
    assert bob.expect(Left).why == "left"


def test_ctrl_c_leaves(chat: Chat, visit: Visit, terminal: Callable[..., Terminal]) -> None:
    bob = visit(chat.ws, "bob")
    screen = terminal("join", chat.tcp, "--nick", "ada")
    screen.wait_for("you are in #lobby")
    screen.wait_for("ada>")
    bob.expect(Joined)
    screen.type("never sent\x03")
    screen.wait_for("goodbye")
    assert screen.process.wait(PATIENCE) == 0
    assert bob.expect(Left).nick == "ada"


def test_another_nickname(chat: Chat, visit: Visit, terminal: Callable[..., Terminal]) -> None:
    bob = visit(chat.ws, "bob")
    screen = terminal("join", chat.tcp, "--nick", "bob")
    screen.wait_for("somebody else is called bob; type another nickname")
    screen.wait_for("nickname:")
    screen.type("a b\r")
    screen.wait_for("a nickname has no spaces")
    screen.type("ada\r")
    screen.wait_for("welcome, ada")
    assert bob.expect(Joined).nick == "ada"


def test_it_comes_back(chat: Chat, visit: Visit, terminal: Callable[..., Terminal]) -> None:
    bob = visit(chat.ws, "bob")
    screen = terminal("join", chat.tcp, "--nick", "ada")
    bob.expect(Joined)
    screen.wait_for("ada>")
    screen.type("/nick eve\r")
    screen.wait_for("you are called eve now")
    (connection,) = [c for c in chat.server.connections if c.identity == "eve"]
    connection.abort()
    screen.wait_for("the connection is lost; trying again")
    screen.wait_for("welcome, eve")
    screen.type("/quit\r")
    screen.wait_for("goodbye")
    assert screen.process.wait(PATIENCE) == 0


def test_without_prompt_toolkit(chat: Chat, terminal: Callable[..., Terminal]) -> None:
    code = (
        "import sys; sys.modules['prompt_toolkit'] = None; "
        "from chat_example.__main__ import main; sys.exit(main())"
    )
    screen = terminal("join", chat.tcp, command=[sys.executable, "-c", code])
    screen.wait_for("pip install 'foreman-server[chat]'")
    assert screen.process.wait(PATIENCE) == 1


# ---------------------------------------------------------------- the server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_says_where_it_is_and_drains(number: signal.Signals, visit: Visit) -> None:
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--tcp-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            page = server.stdout.readline().split()[-1]
            tcp = server.stdout.readline().split()[-1]
            assert "Ctrl-C" in server.stdout.readline()
            assert page.startswith("http://127.0.0.1:")
            with subprocess.Popen(
                [*COMMAND, "join", tcp, "--nick", "ada"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as client:
                assert client.stdout is not None
                assert client.stdin is not None
                assert "welcome, ada" in client.stdout.readline()
                bob = visit(tcp, "bob")
                server.send_signal(number)
                _, log = server.communicate(timeout=PATIENCE)
                assert server.returncode == 0
                assert "ada came" in log
                assert "Traceback" not in log
                bob.client.close()
                lines = iter(client.stdout.readline, "")
                assert any("the connection is lost" in line for line in lines)
                client.stdin.close()
                assert client.wait(PATIENCE) == 0
        finally:
            server.kill()


@contextmanager
def serving(cluster: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--tcp-port", "0", "--cluster", cluster],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            yield server
        finally:
            server.kill()


def test_the_server_says_whether_it_is_connected_with_others() -> None:
    with required_nats(jetstream=True) as broker:
        broker.process.kill()
        with serving(broker.url) as server:
            assert server.stdout is not None
            lines = iter(server.stdout.readline, "")
            said = [next(lines) for _ in range(4)]
            assert said[0].startswith("The chat is open.")
            assert said[3].startswith("Not in the cluster, but trying. Meanwhile ")
            broker.process.start()
            address = broker.url.removeprefix("nats://")
            assert next(lines) == (f"In the cluster: connected to {address}.\n")
            broker.process.kill()
            assert next(lines).startswith("Not in the cluster (")
            server.send_signal(signal.SIGINT)
            rest, _ = server.communicate(timeout=PATIENCE)
            assert (rest, server.returncode) == ("", 0)


def test_the_server_can_be_ended_while_it_waits_for_a_broker_that_hangs() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, serving(f"nats://127.0.0.1:{silent.getsockname()[1]}") as server:
        silent.settimeout(PATIENCE)
        link, _ = silent.accept()
        with link:
            server.send_signal(signal.SIGINT)
            said, log = server.communicate(timeout=PATIENCE)
    assert (said, server.returncode) == ("", 0)
    assert "Traceback" not in log
