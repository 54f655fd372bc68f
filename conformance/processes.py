"""Programs that are run for what they write, and ended with all that they started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias

from attrs import define

Command: TypeAlias = Sequence[str | Path]

STOP_TIMEOUT = 5.0  # seconds
LONGEST_LINE = 1 << 20  # bytes; the suite names all its cases in one
TAIL = 2000  # bytes of a log that an error shows


@define(eq=False)
class Program:
    """A program under way; its output goes to a log. Used on the loop that started it."""

    name: str
    process: asyncio.subprocess.Process
    path: Path
    _log: IO[bytes]

    async def follow(self, on_line: Callable[[str], None], silence: float | None) -> int:
        """Log what it writes until it ends.

        Args:
            on_line: Called with each line, without its end.
            silence: The longest it may write nothing, seconds; None for as long as it likes.

        Returns:
            Its exit status.

        Raises:
            TimeoutError: It wrote nothing for longer.
        """
        assert self.process.stdout is not None
        while True:
            async with asyncio.timeout(silence):
                line = await self.process.stdout.readline()
            if not line:
                break
            self._log.write(line)
            self._log.flush()
            on_line(line.decode(errors="replace").rstrip())
        async with asyncio.timeout(silence):
            return await self.process.wait()

    def tail(self) -> str:
        """The end of its log, to be put behind an error's message, with where the whole is."""
        said = self.path.read_bytes()[-TAIL:].decode(errors="replace").strip()
        return f"\n{said}\n(all of it is in {self.path})"

    async def end(self) -> None:
        """End it and all in its process group: SIGTERM, and SIGKILL when that takes too long."""
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                await self.process.wait()
        self._signal(signal.SIGKILL)  # also those that outlive their parent
        await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@asynccontextmanager
async def program(
    name: str, command: Command, log: Path, *, append: bool = False
) -> AsyncIterator[Program]:
    """Run a program for the length of the block.

    It gets a session of its own, so that Ctrl-C reaches this process only, which then ends it.

    Args:
        name: What errors call it.
        command: The program and its arguments.
        log: Where its standard output and error go.
        append: Whether the log goes on, or begins anew.
    """
    # The suite must not find the modules of whoever runs it, and is to tell at once what it does.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    with log.open("ab" if append else "wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=LONGEST_LINE,
            env={**environment, "PYTHONUNBUFFERED": "1"},
        )
        started = Program(name, process, log, output)
        try:
            yield started
        finally:
            await asyncio.shield(started.end())
