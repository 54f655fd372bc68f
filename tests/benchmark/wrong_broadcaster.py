"""A relay that loses, doubles or tears one delivery, to see whether the benchmark notices."""

from __future__ import annotations

import argparse

from benchmark.peers.program import Options, announce
from netserver import Connection, Server

AT = 10  # the broadcast that goes wrong, for the last that joined


class Member(Connection):
    how = ""
    count = 0

    def on_open(self) -> None:
        self.join("audience")

    def on_message(self, message: bytes) -> None:
        Member.count += 1
        *others, last = self.server.groups.members("audience")
        for each in others:
            each.send(message)
        if Member.count == AT and self.how == "tears":
            message = message[:-1] + message[:1]
        if Member.count != AT or self.how != "loses":
            last.send(message)
        if Member.count == AT and self.how == "doubles":
            last.send(message)


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def run(how: str) -> None:
    options, _ = Options.parse(argparse.ArgumentParser())
    Member.how = how
    server = Server()
    listeners = [server.listen(options.url(), kind) for kind in (Member, Echo)]
    server.start()
    ports = [each.address[1] for each in listeners if isinstance(each.address, tuple)]
    announce([options.url(int(port)) for port in ports])
    server.run()
