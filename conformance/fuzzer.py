"""The suite's two fuzzers: the client that tests servers, and the server that tests clients."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from conformance.errors import RunFailed
from conformance.processes import Command, Program, program
from conformance.suite import Suite

READY_TIMEOUT = 60.0  # seconds until the fuzzing server listens

_CLIENT = "from autobahntestsuite.wstest import run; run()"
# Left to itself the suite's server listens on all interfaces, at a port chosen beforehand. Here it
# listens on the loopback interface at a free one, and says which. In Python 2.7.
_SERVER = """
from autobahntestsuite import wstest, fuzzing
from twisted.internet import reactor

def listen(factory, context=None):
    port = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
    factory.externalPort = port  # what a Host header must name
    print("listening on %d" % port)

fuzzing.listenWS = listen
wstest.run()
"""
_LISTENING = re.compile(r"listening on (\d+)")
_RUNNING = re.compile(r"Running test case ID ([\d.]+) ")


async def fuzz_server(
    suite: Suite,
    url: str,
    agent: str,
    cases: Sequence[str],
    folder: Path,
    on_case: Callable[[str], None],
    silence: float,
) -> dict[str, Any]:
    """Run cases against a server.

    Args:
        suite: The suite.
        url: Where the server listens.
        agent: What the reports call it.
        cases: Which.
        folder: Where the reports go; it must be there.
        on_case: Called with each case that begins.
        silence: How long nothing may begin or end, seconds.

    Returns:
        The index that the suite wrote; empty where it wrote none.

    Raises:
        RunFailed: The suite failed or fell silent.
    """
    spec = _spec(folder, cases, servers=[{"agent": agent, "url": url}])

    def read(line: str) -> None:
        if found := _RUNNING.match(line):
            on_case(found[1])

    command: Command = [suite.python, "-c", _CLIENT, "-m", "fuzzingclient", "-s", spec]
    async with program("the fuzzing client", command, folder / "wstest.log") as fuzzer:
        try:
            status = await fuzzer.follow(read, silence)
        except TimeoutError:
            raise RunFailed(f"nothing happened for {silence:g} s{fuzzer.tail()}") from None
        if status != 0:
            raise RunFailed(f"{fuzzer.name} ended with status {status}{fuzzer.tail()}")
    return read_index(folder)


@asynccontextmanager
async def fuzzing_server(
    suite: Suite, cases: Sequence[str], folder: Path
) -> AsyncIterator[tuple[Program, str]]:
    """Run the suite's server for the length of the block.

    Args:
        suite: The suite.
        cases: Those that it has for its clients.
        folder: Where the reports go, when a client asks for them; it must be there.

    Yields:
        The program, and where it listens.

    Raises:
        RunFailed: It does not listen.
    """
    spec = _spec(folder, cases, url="ws://127.0.0.1:9001")
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def read(line: str) -> None:
        if (found := _LISTENING.match(line)) and not listening.done():
            listening.set_result(int(found[1]))

    command: Command = [suite.python, "-c", _SERVER, "-m", "fuzzingserver", "-u", "0", "-s", spec]
    async with program("the fuzzing server", command, folder / "wstest.log") as fuzzer:
        # It is its client that may not fall silent: it has deadlines of its own.
        following = asyncio.create_task(fuzzer.follow(read, None))
        try:
            await asyncio.wait(
                {following, listening},
                timeout=READY_TIMEOUT,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not listening.done():
                raise RunFailed(f"{fuzzer.name} does not listen{fuzzer.tail()}")
            yield fuzzer, f"ws://127.0.0.1:{listening.result()}"
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


def read_index(folder: Path) -> dict[str, Any]:
    """The index in a folder of reports; empty where there is none.

    Raises:
        RunFailed: It cannot be read.
    """
    try:
        index = json.loads((folder / "index.json").read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunFailed(f"the suite's index cannot be read: {error}") from error
    if not isinstance(index, dict):
        raise RunFailed(f"the suite's index in {folder} is none")
    return index


def _spec(folder: Path, cases: Sequence[str], **more: object) -> Path:
    path = folder / "spec.json"
    spec = {
        "outdir": str(folder),
        # Connections that fail are closed, not just dropped, which is what is to be tested.
        "options": {"failByDrop": False},
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
        **more,
    }
    path.write_text(json.dumps(spec, indent=1))
    return path
