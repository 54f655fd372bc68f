"""An echo server that says one thing twice, to see whether the benchmark notices."""

from __future__ import annotations

import argparse

from benchmark.peers.program import Options, announce
from netserver import Connection, Server


class Doubling(Connection):
    def on_open(self) -> None:
        self._count = 0

    def on_message(self, message: bytes | str) -> None:
        self._count += 1
        self.send(message)
        if self._count == 10:
            self.send(message)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes")
    parser.add_argument("--seed")
    options, _ = Options.parse(parser)
    server = Server()
    listener = server.listen(options.url(), Doubling)
    server.start()
    address = listener.address
    assert isinstance(address, tuple)
    announce([options.url(address[1])])
    server.run()


if __name__ == "__main__":
    main()
