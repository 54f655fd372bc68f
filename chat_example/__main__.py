"""``python -m chat_example serve`` and ``python -m chat_example join``."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import sys

from chat_example.announcer import Announcer
from chat_example.plain import run_plain
from chat_example.rules import LOBBY, ChatError, check_nick, check_room
from chat_example.server import ChatConnection, ChatServer
from netclient import ConnectFailed, UrlError
from netserver import BackplaneError, ListenError

PAGE_PORT = 8765
TCP_PORT = 5500


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; the exit status is 0, or 1 with a message on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return _serve(options) if options.command == "serve" else _join(options)
    except ListenError as error:
        return _fail(f"{error}. Is a server running already? --port and --tcp-port choose others")
    except ConnectFailed as error:
        return _fail(f"{error}. Is the server running? python -m chat_example serve starts one")
    except (BackplaneError, ChatError, UrlError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 0


def _serve(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    announcer = Announcer(sys.stdout)
    server = ChatServer(cluster=options.cluster, on_event=announcer.on_event)
    host = f"[{options.host}]" if ":" in options.host else options.host
    page = server.listen(f"ws://{host}:{options.port}", ChatConnection)
    tcp = server.listen(f"tcp://{host}:{options.tcp_port}", ChatConnection)
    with server:
        announcer.open(
            [
                f"The chat is open. In a browser:  http://{host}:{page.port}/",
                f"In a terminal:  python -m chat_example join tcp://{host}:{tcp.port}",
                "Ctrl-C ends it.",
            ],
            clustered=options.cluster is not None,
        )
        server.run()
    return 0


def _join(options: argparse.Namespace) -> int:
    nick, room = check_nick(options.nick), check_room(options.room)
    run = run_plain
    if not options.plain and sys.stdin.isatty() and sys.stdout.isatty():
        try:
            from chat_example.screen import run_screen as run
        except ModuleNotFoundError as error:
            if error.name != "prompt_toolkit":
                raise
            return _fail(
                "the terminal client needs prompt_toolkit: pip install 'foreman-server[chat]'; "
                "or chat in plain lines with --plain"
            )
    return asyncio.run(run(options.url, nick, room))


def _fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chat_example",
        description="A chat for the browser and the terminal.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve | join")
    serve = commands.add_parser(
        "serve",
        help="run the server",
        description="Run the server: a page for browsers, and TCP for the terminal client.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument(
        "--port", type=_port, default=PAGE_PORT, help="of the page, 0 for any (%(default)s)"
    )
    serve.add_argument(
        "--tcp-port", type=_port, default=TCP_PORT, help="of TCP, 0 for any (%(default)s)"
    )
    serve.add_argument(
        "--cluster",
        metavar="URL",
        help="be one chat with the other servers that are given the same: nats://…, amqp://…, "
        "zmq://…; with nats-server -js what was said outlives any of them (this server alone)",
    )
    join = commands.add_parser(
        "join",
        help="chat in the terminal",
        description="Chat in the terminal, or in plain lines where that is a file or a pipe.",
    )
    join.add_argument(
        "url",
        nargs="?",
        default=f"tcp://127.0.0.1:{TCP_PORT}",
        help="of the server, tcp://… or ws://… (%(default)s)",
    )
    join.add_argument("--nick", default=_login(), help="your nickname (%(default)s)")
    join.add_argument("--room", default=LOBBY, help="the room to begin in (%(default)s)")
    join.add_argument("--plain", action="store_true", help="plain lines, in a terminal too")
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"a port is a number up to 65535, not {text!r}")


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody, as in some containers
        return "guest"


if __name__ == "__main__":
    sys.exit(main())
