"""What the README shows is run, so that it stays true."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SNIPPETS: list[str] = SNIPPET.findall((ROOT / "README.md").read_text())
OF_CLUSTER: list[str] = SNIPPET.findall((ROOT / "docs" / "cluster.md").read_text())


def find(text: str, among: list[str] = SNIPPETS) -> str:
    found = [snippet for snippet in among if text in snippet]
    assert len(found) == 1, f"{len(found)} snippets hold {text!r}"
    return found[0]


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(snippet: str) -> int:
    return sum(1 for line in snippet.splitlines() if line.strip())


def test_first_server_and_client_talk() -> None:
    server = find('listen("ws://127.0.0.1:8765", Echo)\nserver.run()')
    client = find("from netclient.blocking import Client")
    assert lines(server) <= 12
    assert lines(client) <= 8
    # A free port instead of the one shown, and the client in a thread that ends the server.
    server = server.replace('server.listen("ws://127.0.0.1:8765", Echo)', "LISTEN")
    client = client.replace('"ws://127.0.0.1:8765"', "url")
    ask = "def ask(url):\n" + textwrap.indent(client, "    ") + "    server.stop()\n"
    listen = (
        'listener = server.listen("ws://127.0.0.1:0", Echo)\nserver.start()\n'
        "import threading\n"
        'url = f"ws://127.0.0.1:{listener.port}"\n'
        "threading.Thread(target=ask, args=(url,)).start()"
    )
    assert run(ask + server.replace("LISTEN", listen)) == "hello\n"


def test_sensor() -> None:
    snippet = find("class Sensor(ScanWorker)")
    snippet = (
        snippet.replace("        ...", "        scanned.set()")
        + "    assert scanned.wait(10)\nprint('scanned')\n"
    )
    assert run("import threading\nscanned = threading.Event()\n" + snippet) == "scanned\n"


def test_feed() -> None:
    program = find("class Feed(Connection)") + textwrap.dedent(
        """
        import urllib.request
        from netclient import HandshakeRefused
        from netclient.blocking import Client

        with site:
            port = feed.port
            health = urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10)
            with health:
                print(health.read().decode(), end="")
            try:
                Client(f"ws://127.0.0.1:{port}/").connect()
            except HandshakeRefused as refused:
                print(refused.status)
            with Client(f"ws://127.0.0.1:{port}/?token=ann") as ann:
                with Client(f"ws://127.0.0.1:{port}/?token=bob") as bob:
                    ann.send("to the others")
                    print(bob.recv(timeout=10))
                    with Client(f"tcp://127.0.0.1:{bulk.port}", framing="lines") as bulky:
                        bulky.send("in bulk")
                        print(ann.recv(timeout=10), bob.recv(timeout=10))
        """
    )
    assert run(program) == "up\n401\nto the others\nb'in bulk' b'in bulk'\n"


def test_quotes() -> None:
    program = find("class Quotes(Connection)") + textwrap.dedent(
        """
        from netclient.blocking import Client

        listener = server.listen("ws://127.0.0.1:0", Quotes)
        with server, Client(f"ws://127.0.0.1:{listener.port}") as client:
            client.send("urgent")
            print(client.recv(timeout=10))
            (connection,) = server.connections
            print(connection.required_latency)
        """
    )
    told = run(program).splitlines()
    assert told[0].startswith("Spawned ")
    assert told[1].startswith("Placed ")
    assert "urgent" in told
    assert "0.01" in told


def test_talk() -> None:
    program = find("class Talk(Connection)") + textwrap.dedent(
        """
        from netclient.blocking import Client

        with server:
            with Client(f"ws://127.0.0.1:{talk.port}/ann") as ann:
                ann.send("said")
                print(ann.recv(timeout=10))
                with Client(f"ws://127.0.0.1:{talk.port}/ben") as ben:
                    print(ben.recv(timeout=10))
                    print(*sorted(member.identity for member in server.presence("room/1")))
        """
    )
    assert run(program) == "said\nsaid\nann ben\n"


def test_two_servers_are_one() -> None:
    program = find("class Guest", OF_CLUSTER) + textwrap.dedent(
        """
        from netclient.blocking import Client

        with site("memory://docs") as one, site("memory://docs") as two:
            here = one.listen("ws://127.0.0.1:0", Guest).port
            there = two.listen("ws://127.0.0.1:0", Guest).port
            with Client(f"ws://127.0.0.1:{here}/ann") as ann:
                print(ann.recv(timeout=10))
                with Client(f"ws://127.0.0.1:{there}/ben") as ben:
                    print(*sorted(ben.recv(timeout=10) for _ in range(2)), sep=", ")
                    print(ann.recv(timeout=10))
                    ann.send("ben hello there")
                    print(ben.recv(timeout=10))
                    ann.send("eve hello?")
                    print(ann.recv(timeout=10))
        """
    )
    assert run(program) == (
        "ann is here\nann is here, ben is here\nben is here\nhello there\neve: nobody\n"
    )


def test_who_comes_back_to_a_room_gets_what_they_missed_and_questions_are_answered() -> None:
    program = (
        find("class Player", OF_CLUSTER)
        + find("class Reader", OF_CLUSTER)
        + textwrap.dedent(
            """
            from netclient.blocking import Client
            from netserver import Server

            server = Server(cluster="memory://docs")
            set_up(server)
            with server:
                players = server.listen("ws://127.0.0.1:0", Player).port
                url = f"ws://127.0.0.1:{server.listen('ws://127.0.0.1:0', Reader).port}/"
                with Client(f"ws://127.0.0.1:{players}/ann") as ann:
                    with Client(f"ws://127.0.0.1:{players}/ben"):
                        ann.send("ben")
                        print(ann.recv(timeout=10))
                    ann.send("eve")
                    print(ann.recv(timeout=10))
                with Client(url) as reader:
                    reader.send("one")
                    reader.send("two")
                    epoch, offset, said = json.loads(reader.recv(timeout=10))
                    print(said, json.loads(reader.recv(timeout=10))[2])
                with Client(f"{url}?epoch={epoch}&offset={offset}") as reader:
                    print(json.loads(reader.recv(timeout=10))[2])
                with Client(f"{url}?epoch=another&offset=7") as reader:
                    print(reader.recv(timeout=10))
                    print(*(json.loads(reader.recv(timeout=10))[2] for _ in range(2)))
            """
        )
    )
    assert run(program) == (
        "ben plays chess\nnobody is there\none two\ntwo\n"
        "some of what was said is not kept any more\none two\n"
    )


@pytest.mark.parametrize("module", ["scan_example", "chat_example", "benchmark"])
def test_programs_explain_themselves(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, timeout=30
    )
    assert done.returncode == 0
    assert b"usage" in done.stdout
