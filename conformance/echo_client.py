"""The client under test, as a program: it asks the suite for one case after the other, and echoes.

Says in JSON lines how many cases there are, which one it begins, and that it is done. Which cases
passed only the suite knows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from urllib.parse import urlencode

import uvloop

from conformance.profile import COMPRESSION, LIMITS, PATIENCE
from netclient import Client, ConnectionClosed
from netclient.options import Options

# Without pings of its own: the suite compares all that it gets with what it expects.
OPTIONS: Options = {
    "reconnect": None,
    "limits": LIMITS,
    "compression": COMPRESSION,
    "ping_interval": None,
    "send_timeout": PATIENCE,
}


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def run(address: Callable[..., str]) -> None:
    """All cases, one after the other."""
    async with Client(address("getCaseCount"), **OPTIONS) as client:
        count = int(await client.recv(PATIENCE))
    say(count=count)
    for case in range(1, count + 1):
        say(case=case)
        async with Client(address("runCase", case=case), **OPTIONS) as client:
            try:
                async for message in client:
                    await client.send(message)
            except ConnectionClosed:
                pass  # many a case ends like that, and is then judged by its close code
    async with Client(address("updateReports"), **OPTIONS) as client:
        await client.wait_closed()
    say(done=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True, help="where the suite's server listens")
    parser.add_argument("--agent", required=True, help="what its reports call the client")
    found = parser.parse_args()

    def address(path: str, **query: object) -> str:
        return f"{found.url}/{path}?{urlencode({'agent': found.agent, **query})}"

    uvloop.run(run(address))


if __name__ == "__main__":
    main()
