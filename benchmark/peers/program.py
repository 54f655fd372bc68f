"""What every server program shares: its options, its first line, and answers while it runs.

A program listens on a free port, says where on its standard output, in one JSON line, and serves
until SIGTERM. For every line it reads from its standard input it writes one more JSON line with
its statistics; at the end of its input, when whoever started it is gone, it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import sys
from collections.abc import Callable, Coroutine, Sequence
from threading import Thread
from typing import Any

import uvloop
from attrs import frozen


@frozen(kw_only=True)
class Options:
    """How a program is to listen.

    Args:
        transport: A URL scheme of `benchmark.load.plan.TRANSPORTS`.
        path: Where a Unix socket goes.
        certificate: PEM file with certificate and key, for TLS.
        deflate: Whether to speak permessage-deflate, with what the server has by default.
        fastnet: Whether aiofastnet takes the place of the loop's own transports.
    """

    transport: str
    path: str
    certificate: str
    deflate: bool = False
    fastnet: bool = False

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context, where the transport asks for one."""
        if self.transport not in ("wss", "tls"):
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate)
        return context

    @property
    def unix(self) -> bool:
        """Whether to listen on `path`."""
        return self.transport.endswith("unix")

    def url(self, port: int = 0, index: int = 0) -> str:
        """Where to listen, with port 0, and what a client connects to.

        Args:
            port: The port, unless it is a Unix socket.
            index: Which one of several listeners; each Unix socket has a path of its own.
        """
        if self.unix:
            return f"{self.transport}://{self.path}{index or ''}"
        return f"{self.transport}://127.0.0.1:{port}"

    @classmethod
    def parse(
        cls,
        parser: argparse.ArgumentParser | None = None,
        transports: Sequence[str] | None = None,
    ) -> tuple[Options, Any]:
        """Read the command line.

        Args:
            parser: One that knows further options, or None.
            transports: What the program can listen on; None for whatever it is told.

        Returns:
            The options, and the namespace with the further ones.
        """
        parser = parser or argparse.ArgumentParser()
        parser.add_argument("--transport", required=True, choices=transports)
        parser.add_argument("--path", default="")
        parser.add_argument("--certificate", default="")
        parser.add_argument("--deflate", action="store_true")
        parser.add_argument("--fastnet", action="store_true")
        found = parser.parse_args()
        options = cls(
            transport=found.transport,
            path=found.path,
            certificate=found.certificate,
            deflate=found.deflate,
            fastnet=found.fastnet,
        )
        return options, found


def positive(text: str) -> int:
    """A whole number of at least 1, from a command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def announce(urls: Sequence[str], statistics: Callable[[], dict[str, object]] = dict) -> None:
    """Say where the program listens, and answer from now on in a thread of its own."""

    def say(fields: dict[str, object]) -> None:
        print(json.dumps(fields), flush=True)

    def answer() -> None:
        for _line in sys.stdin:
            say(statistics())
        os._exit(0)

    say({"urls": list(urls)})
    Thread(target=answer, name="control", daemon=True).start()


def serve(
    start: Callable[[Options], Coroutine[Any, Any, asyncio.Server]], options: Options | None = None
) -> None:
    """Run a program whose server is one of asyncio's, on uvloop.

    Args:
        start: Returns the server once it listens; it must listen on 127.0.0.1, port 0, or on
            the options' path.
        options: None to read the command line.
    """
    if options is None:
        options, _ = Options.parse()

    async def main() -> None:
        if options.fastnet:
            import aiofastnet

            aiofastnet.patch_loop()
        server = await start(options)
        port = 0 if options.unix else server.sockets[0].getsockname()[1]
        announce([options.url(port)])
        await asyncio.Event().wait()

    uvloop.run(main())
