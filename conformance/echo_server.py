"""The server under test, as a program: an echo on uvloop, with the Foreman on.

Says where it listens in one JSON line, and serves until SIGTERM or the end of its input.
"""

from __future__ import annotations

import argparse

from benchmark.peers.program import announce
from conformance.profile import COMPRESSION, LIMITS, PATIENCE, SEND_LIMIT
from netserver import Connection, Deflate, Server, ServerConfig, server_context


class Echo(Connection):
    required_latency = 0.010

    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate", help="PEM file; with it the server speaks TLS")
    found = parser.parse_args()
    tls = None if found.certificate is None else server_context(found.certificate)
    scheme, compression = ("ws", COMPRESSION) if tls is None else ("wss", Deflate())
    config = ServerConfig(
        limits=LIMITS,
        send_limit=SEND_LIMIT,
        write_timeout=PATIENCE,
        message_timeout=PATIENCE,
        ping_interval=None,  # the suite counts every frame
    )
    server = Server(config=config)
    listener = server.listen(f"{scheme}://127.0.0.1:0", Echo, tls=tls, compression=compression)
    server.start()
    assert isinstance(listener.address, tuple)
    announce([f"{scheme}://127.0.0.1:{listener.address[1]}"])
    server.run()


if __name__ == "__main__":
    main()
