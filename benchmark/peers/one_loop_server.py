"""One event loop: the same handlers on asyncio and uvloop, one thread for all connections."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmark.peers.conversation import Conversation, serve
from benchmark.peers.program import Options
from benchmark.peers.work import WORK, Work


class Echo(Conversation):
    """Handles each message where it was read, and writes the replies to one read together."""

    def __init__(self, work: Work | None) -> None:
        super().__init__()
        self._work = work

    def take(self, messages: Sequence[bytes]) -> None:
        if self._work is not None:
            for message in messages:
                if message.startswith(WORK):
                    self._work.carry_out()
        self.reply(messages)


def main() -> None:
    parser = argparse.ArgumentParser()
    Work.add_options(parser)
    _, found = Options.parse(parser, ("tcp",))
    work = Work.chosen(found)
    serve(lambda: Echo(work))


if __name__ == "__main__":
    main()
