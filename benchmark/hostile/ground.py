"""What the rows of the hostile table share: the processes, the good connections, the findings."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import asdict, define, frozen

from benchmark.errors import BenchmarkError
from benchmark.hostile.catalogue import ATTACKS
from benchmark.load.timetable import NEVER, Line, Timetable, read_times, split
from benchmark.peers.target_server import LISTENERS
from benchmark.processes import Child, Server, child, run_timetable, running_server
from benchmark.servers import ServerKind
from benchmark.usage import resident_bytes
from benchmark.workspace import Workspace
from netserver import ServerConfig

TARGET = ServerKind(name="target", requires="netserver", transports=("ws",))
DECLARED = 0.010  # seconds, by the good connections and all others
GRACE = 1.0  # seconds after a deadline by which the last has to be gone
ANSWER = 120.0  # seconds that a crowd may take for what it is asked
KIB, MIB = 1024, 1024 * 1024

DEFAULTS = ServerConfig()


@frozen(kw_only=True)
class Scale:
    """How much of everything: as the table says, or little enough for CI.

    Args:
        sockets: In a crowd.
        burst: Connections in a storm.
        storms: How often.
        seconds: Of a measurement.
        copies: Of each attack at once.
        subscribers: Of a feed, a tenth of which stall.
        moves: Of each stream, on average.
        storm: Seconds in which a storm comes, and in which memory is to be back after it.
        settings: Options of the server beside its defaults.
    """

    sockets: int = 5000
    burst: int = 10_000
    storms: int = 10
    seconds: float = 10.0
    copies: int = 40
    subscribers: int = 100
    moves: int = 1000
    storm: float = 5.0
    settings: tuple[str, ...] = ()


QUICK = Scale(
    sockets=300,
    burst=500,
    storms=2,
    seconds=2.0,
    copies=10,
    subscribers=20,
    moves=5,
    storm=1.0,
    settings=("--set", "close_timeout=1"),
)


@frozen(kw_only=True)
class Finding:
    """One figure beside its bound.

    Args:
        what: Of what.
        value: What was measured.
        bound: The most that it may be.
        unit: Of both.
    """

    what: str
    value: float
    bound: float
    unit: str

    @property
    def held(self) -> bool:
        """Whether it keeps within the bound."""
        return self.value <= self.bound

    @property
    def figures(self) -> tuple[str, str, str]:
        """Measured, bound and verdict, as a person reads them."""
        unit = f" {self.unit}" if self.unit else ""
        verdict = "held" if self.held else "NOT held"
        return f"{self.value:.4g}{unit}", f"{self.bound:.4g}{unit}", verdict

    def described(self) -> dict[str, object]:
        """For the results file; `Finding.read` reads it again."""
        return {**asdict(self), "held": self.held}

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> Finding:
        """What `described` gave."""
        return cls(**{name: value for name, value in described.items() if name != "held"})


@define(eq=False)
class Ground:
    """Where a row is measured.

    Attributes:
        workspace: Files, among them the load client in C.
        secured: The same for TLS: the certificates.
        scale: How much of everything.
        say: Called with what is being done.
    """

    workspace: Workspace
    secured: Workspace
    scale: Scale
    say: Callable[[str], None]

    @asynccontextmanager
    async def target(self, *arguments: str) -> AsyncIterator[Target]:
        """A fresh server, with the production defaults but for what is said."""
        options = (*self.scale.settings, *arguments)
        async with running_server(TARGET, "ws", self.secured, None, options) as server:
            urls = dict(zip(LISTENERS, server.urls, strict=True))
            yield Target(server, urls, self)

    @asynccontextmanager
    async def crowd(self) -> AsyncIterator[Child]:
        """A crowd's process."""
        async with child("the crowd", "benchmark.hostile.crowd", (), None) as crowd:
            yield crowd

    @asynccontextmanager
    async def attacker(self) -> AsyncIterator[Child]:
        """An attacker's process."""
        async with child("the attacker", "benchmark.hostile.attacker", (), None) as attacker:
            yield attacker


async def ask(process: Child, **order: object) -> dict[str, Any]:
    """Have a process do something.

    Raises:
        BenchmarkError: It could not.
    """
    await process.write(order)
    answer = await process.read(ANSWER)
    if "error" in answer:
        raise BenchmarkError(f"{process.name}: {answer['error']}")
    return answer


@define(eq=False)
class Target:
    """A server that is attacked."""

    server: Server
    urls: dict[str, str]
    ground: Ground

    @property
    def pid(self) -> int:
        return self.server.child.pid

    def port(self, name: str) -> int:
        """Where a listener is."""
        return int(self.urls[name].rpartition(":")[2])

    async def statistics(self) -> dict[str, Any]:
        return await self.server.statistics()

    async def quiet(self, connections: int = 0, seconds: float = 60.0) -> dict[str, Any]:
        """The statistics once so many connections are left, or fewer."""
        for _ in range(int(seconds / 0.05)):
            found = await self.statistics()
            if found["connections"] <= connections:
                return found
            await asyncio.sleep(0.05)
        raise BenchmarkError(f"{found['connections']} connections are still there")

    async def strike(
        self, attacker: Child, name: str, copies: int = 1, seconds: float = 0.5, most: int = 1 << 62
    ) -> list[dict[str, Any]]:
        """Have an attack of the catalogue carried out."""
        where = self.urls[ATTACKS[name].where]
        target = {
            "url": where,
            "certificate": self.ground.secured.authority,
            "patience": 30.0,
            "seconds": seconds,
            "most": most,
        }
        found = await ask(attacker, attack=name, target=target, copies=copies)
        met: list[dict[str, Any]] = found["met"]
        return met

    def forget_peak(self) -> int:
        """Let the peak of the memory begin anew; what is resident now, bytes."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return resident_bytes(self.pid)

    def peak(self) -> int:
        """The most memory that was resident since `forget_peak`, bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIB
        raise BenchmarkError("/proc tells no VmHWM")

    async def observe(self, seconds: float, *names: str) -> dict[str, Latencies]:
        """Good connections to these listeners, in an open loop: what they get, by listener."""
        each, rate = 10, 50.0
        count = max(1, round(seconds * rate))
        workspace = self.ground.workspace
        due = array("q")
        for number in range(each * len(names)):
            offset = number / (each * len(names))
            due.extend(round((n + offset) / rate * 1e9) for n in range(count))
        due_file, answers = workspace.directory / "due", workspace.directory / "answers"
        due_file.write_bytes(due.tobytes())
        timetable = Timetable(
            lines=[Line(url=self.urls[n], messages=count) for n in names for _ in range(each)],
            due=str(due_file),
            answers=str(answers),
            seconds=seconds + 5.0,
            certificate=None,
            library=workspace.library,
            server_pid=self.pid,
        )
        await run_timetable(timetable, None, lambda seconds, messages: None)
        times = read_times(answers)
        heard = split(times[len(due) :], [count * each] * len(names))
        dues = split(due, [count * each] * len(names))
        return {
            name: Latencies.of(dues[number], heard[number]) for number, name in enumerate(names)
        }


@frozen(kw_only=True)
class Latencies:
    """What some good connections got, seconds."""

    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, due: array[int], heard: array[int]) -> Latencies:
        """Of messages due then, heard then.

        Raises:
            BenchmarkError: One was never answered.
        """
        if NEVER in heard:
            raise BenchmarkError("a message of a good connection was never answered")
        found = sorted((h - d) / 1e9 for d, h in zip(due, heard, strict=True))
        return cls(p50=found[len(found) // 2], p99=found[len(found) * 99 // 100], worst=found[-1])
