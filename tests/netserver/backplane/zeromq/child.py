"""One more server, in a process of its own: its URL and its subjects are its arguments."""

from __future__ import annotations

import asyncio
import sys

from netserver.backplane import LinkState, make_backplane


def receive(subject: str, payload: bytes) -> None:
    print(subject, payload[:20].decode(), flush=True)


def tell(state: LinkState, why: str) -> None:
    pass


async def main(url: str, *subjects: str) -> None:
    backplane = make_backplane(url)
    await backplane.start(receive, tell)
    await backplane.subscribe(subjects)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
