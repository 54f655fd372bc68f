"""A chat server, clients that speak its protocol, and a real browser driven over DevTools."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from attrs import frozen

from chat_example.protocol import (
    FROM_SERVER,
    FromClient,
    Hello,
    History,
    Line,
    Room,
    Said,
    Welcome,
    decode,
    encode,
)
from chat_example.server import ChatConnection, ChatServer
from netclient import Limits
from netclient.blocking import Client

# Generous: nothing is measured, only a hang is to be noticed.
PATIENCE = 20.0

M = TypeVar("M")


@frozen
class Chat:
    """A running chat server and its addresses."""

    server: ChatServer
    ws: str
    tcp: str

    @property
    def page(self) -> str:
        return self.ws.replace("ws", "http", 1) + "/"

    def url(self, scheme: str) -> str:
        return {"ws": self.ws, "tcp": self.tcp}[scheme]


@pytest.fixture
def chat() -> Iterator[Chat]:
    server = ChatServer()
    with server:
        ws = server.listen("ws://127.0.0.1:0", ChatConnection)
        tcp = server.listen("tcp://127.0.0.1:0", ChatConnection)
        yield Chat(server, f"ws://127.0.0.1:{ws.port}", f"tcp://127.0.0.1:{tcp.port}")


class Person:
    """A client that sends messages of the protocol and waits for those it is sent."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.ticket = ""
        self.histories: list[History] = []

    def send(self, message: FromClient | bytes | str) -> None:
        self.client.send(message if isinstance(message, bytes | str) else encode(message))

    def says(self, line: str) -> None:
        self.send(Line(text=line))

    def next(self) -> object:
        """The next message, whatever it is; that history begins is only noted."""
        while isinstance(message := decode(self.client.recv(PATIENCE), FROM_SERVER), History):
            self.histories.append(message)
        return message

    def expect(self, kind: type[M]) -> M:
        """The next message, which is one of a kind."""
        message = self.next()
        assert isinstance(message, kind), message
        return message

    def skip_to(self, kind: type[M], where: Callable[[M], bool] = lambda message: True) -> M:
        """The next message of a kind, whatever comes before."""
        while True:
            message = self.next()
            if isinstance(message, kind) and where(message):
                return message

    def hear(self, text: str) -> Said:
        """The next message, which is somebody's saying a text."""
        said = self.expect(Said)
        assert said.text == text, said
        return said

    def hello(self, nick: str, room: str = "lobby", ticket: str = "", since: str = "") -> Room:
        """Come in; the room as it is then."""
        self.send(Hello(nick=nick, room=room, ticket=ticket, since=since))
        self.ticket = self.expect(Welcome).ticket
        return self.expect(Room)


class Visit(Protocol):
    def __call__(self, url: str, nick: str = "", room: str = "lobby") -> Person: ...


@pytest.fixture
def visit(chat: Chat) -> Iterator[Visit]:
    """Connects people to the server, and says hello for those with a nickname."""
    clients: list[Client] = []

    def connect(url: str, nick: str = "", room: str = "lobby") -> Person:
        client = Client(url, reconnect=None)
        client.connect()
        clients.append(client)
        person = Person(client)
        if nick:
            person.hello(nick, room)
        return person

    yield connect
    for client in clients:
        client.close()


# ---------------------------------------------------------------- a browser


def find_chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no chromium here: apt-get install chromium")


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)


class Tab:
    """One page of the browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self.session = session

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.command(method, self.session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of some JavaScript; a promise is awaited."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until some JavaScript is true; it is looked at whenever the page changes."""
        self.evaluate(
            "new Promise((resolve) => {"
            f"  const look = () => {{ if ({condition}) resolve(true); }};"
            "  new MutationObserver(look).observe(document, "
            "    {subtree: true, childList: true, attributes: true, characterData: true});"
            "  look();"
            "})"
        )

    def wait_for_text(self, text: str) -> None:
        self.wait_for(f"document.body.innerText.includes({json.dumps(text)})")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.command(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                text="\r" if key == "Enter" and kind == "keyDown" else "",
            )

    def write(self, selector: str, text: str) -> None:
        """Type into a field as a person would, and press Enter."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.command("Input.insertText", text=text)
        self.press("Enter", 13)

    def click(self, selector: str, text: str) -> None:
        """Click on the one of some elements that has a text."""
        self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".find((each) => each.innerText === {json.dumps(text)}).click()"
        )

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))


class Browser:
    """Chromium, over the DevTools protocol."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids = itertools.count(1)
        self._happened: set[tuple[str, str]] = set()

    def command(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._client.send(json.dumps(message))
        while (answer := self._next()).get("id") != number:
            pass
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for_event(self, session: str, event: str) -> None:
        """Wait until something has happened since the last time this was asked."""
        while (session, event) not in self._happened:
            self._next()
        self._happened.remove((session, event))

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._client.recv(PATIENCE))
        if "method" in message:
            self._happened.add((message.get("sessionId", ""), message["method"]))
        return message

    def open(self, url: str) -> Tab:
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(self, attached["sessionId"])
        tab.command("Page.enable")
        tab.command("Emulation.setFocusEmulationEnabled", enabled=True)
        tab.command("Page.navigate", url=url)
        self.wait_for_event(tab.session, "Page.loadEventFired")
        return tab


@contextmanager
def running_chromium(home: Path) -> Iterator[Browser]:
    profile = home / "profile"
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [find_chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            env={**os.environ, "HOME": str(home)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        port, path = _where(process, profile / "DevToolsActivePort", log)
        url = f"ws://127.0.0.1:{port}{path}"
        with Client(url, reconnect=None, limits=Limits(message=32 * 1024 * 1024)) as client:
            yield Browser(client)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _where(process: subprocess.Popen[bytes], file: Path, log: Path) -> tuple[int, str]:
    for _ in range(int(PATIENCE / 0.1)):
        if file.exists() and len(lines := file.read_text().split("\n")) == 2:
            return int(lines[0]), lines[1]
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"chromium did not start:\n{log.read_text(errors='replace')}")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running: AbstractContextManager[Browser] = running_chromium(tmp_path_factory.mktemp("browser"))
    with running as found:
        yield found
