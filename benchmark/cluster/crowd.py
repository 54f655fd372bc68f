"""Clients that lose their server and all connect to another one at once, as a process.

A plan on standard input, as `benchmark.load.talk` says; the load begins, and the server may be
killed, when they are all connected.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from attrs import asdict, define, field

from benchmark.cluster.crowd_plan import CrowdPlan, Return
from benchmark.cluster.crowd_wire import Wire, address_of
from benchmark.load.client import LoadError
from benchmark.load.talk import answer
from foreman.loops import new_loop

AT_ONCE = 100  # that connect at a time before the server is killed
CONNECT_TIMEOUT = 45.0  # for all of them
AGAIN = 0.1  # seconds until one that was refused tries again
PROBE = 0.05  # seconds between two looks at who is to be sent something
PROBE_AGAIN = 1.0  # seconds after which it is sent once more
TO_YOU, TO_ALL = b"to you", b"to all"  # what `benchmark.peers.cluster_server.Prober` sends
STEPS = ("opened", "echoed", "reached", "grouped")  # until a client is served again


@define(eq=False)
class Client:
    """One of the crowd.

    Attributes:
        identity, group: Who it is.
        wire: Its connection; None before the first.
        returning: Whether it has lost the first server.
        times: When each thing happened after the server was gone, by name.
        probed: When it was last asked to be sent something.
    """

    identity: str
    group: str
    wire: Wire | None = None
    returning: bool = False
    times: dict[str, float] = field(factory=dict)
    probed: float = 0.0


@define(eq=False)
class Group:
    """Clients that get what is sent to one group.

    Attributes:
        members: Who.
        probed: When it was last asked to be sent something.
    """

    members: list[Client] = field(factory=list)
    probed: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether to send it something: once all are back who wait for it, or no more come.

        All members are sent what is sent to it: so not for each of them anew.
        """
        waiting = [member for member in self.members if "grouped" not in member.times]
        back = [member.times["echoed"] for member in waiting if "echoed" in member.times]
        if not back or now - self.probed < PROBE_AGAIN:
            return False
        return len(back) == len(waiting) or now - max(back) >= PROBE_AGAIN


class Crowd:
    """All of them. Its loop's.

    Args:
        plan: What to do.
    """

    def __init__(self, plan: CrowdPlan) -> None:
        self._plan = plan
        self._clients = [
            Client(f"c{number}", f"g{number % plan.groups}") for number in range(plan.clients)
        ]
        self._open = 0
        self._all_open = asyncio.Event()
        self._served = 0
        self._all_served = asyncio.Event()
        self._lost: float | None = None
        self._refused = 0
        self._over = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._groups: dict[str, Group] = {}
        for client in self._clients:
            self._groups.setdefault(client.group, Group()).members.append(client)
        self._prober: Wire

    async def connect(self) -> None:
        """Connect all of them to the first server.

        Raises:
            LoadError: Not all can.
        """
        ready = asyncio.Event()
        loop = asyncio.get_running_loop()
        free = asyncio.Semaphore(AT_ONCE)

        async def one(client: Client) -> None:
            async with free:
                await self._dial(client, self._plan.first)

        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                self._prober = Wire(self._plan.prober, ready.set, lambda _: None, lambda: None)
                address = address_of(self._plan.prober)
                await loop.create_connection(lambda: self._prober, *address)
                await ready.wait()
                await asyncio.gather(*map(one, self._clients))
                await self._all_open.wait()
        except (OSError, TimeoutError) as error:
            raise LoadError(
                f"only {self._open} of {self._plan.clients} clients could connect: {error!r}"
            ) from error

    async def come_back(self, progress: Callable[[float, int], None]) -> Return:
        """Wait until the first server is gone, and all are served by the second, or time is up.

        Raises:
            LoadError: The first server is still there.
        """
        began = time.monotonic()
        while not self._all_served.is_set():
            self._probe()
            since = time.monotonic() - (self._lost or began)
            if since > self._plan.seconds:
                break
            progress(time.monotonic() - began, self._served)
            await asyncio.sleep(PROBE)
        self._over = True
        if self._lost is None:
            raise LoadError("the server that was to be killed is still there")
        return Return(
            lost=self._lost,
            served=self._served,
            refused=self._refused,
            **{
                name: max((client.times.get(name, 0.0) for client in self._clients), default=0.0)
                for name in STEPS
            },
        )

    def close(self) -> None:
        """End all connections."""
        self._over = True
        for client in self._clients:
            if client.wire is not None:
                client.wire.close()
        self._prober.close()

    async def _dial(self, client: Client, url: str) -> None:
        wire = Wire(
            f"{url}/{client.identity}/{client.group}",
            lambda: self._note_open(client),
            lambda message: self._hear(client, message),
            lambda: self._lose(client),
        )
        client.wire = wire
        await asyncio.get_running_loop().create_connection(lambda: wire, *address_of(url))

    async def _dial_again(self, client: Client) -> None:
        while not self._over:
            try:
                await self._dial(client, self._plan.second)
            except OSError:
                self._refused += 1
                await asyncio.sleep(AGAIN)
            else:
                return

    def _note_open(self, client: Client) -> None:
        if self._lost is None:
            self._open += 1
            if self._open == len(self._clients):
                self._all_open.set()
        else:
            client.times["opened"] = time.monotonic()
            assert client.wire is not None
            client.wire.send(client.identity.encode())

    def _hear(self, client: Client, message: bytes) -> None:
        if self._lost is None or "opened" not in client.times:
            return
        names = {client.identity.encode(): "echoed", TO_YOU: "reached", TO_ALL: "grouped"}
        name = names.get(message)
        if name is None or name in client.times:
            return
        client.times[name] = time.monotonic()
        if len(client.times) == len(STEPS):
            self._served += 1
            if self._served == len(self._clients):
                self._all_served.set()

    def _lose(self, client: Client) -> None:
        if self._over:
            return
        if self._lost is None:
            self._lost = time.monotonic()
        self._refused += client.returning
        client.returning = True
        self._served -= len(client.times) == len(STEPS)
        client.times.clear()
        task = asyncio.get_running_loop().create_task(self._dial_again(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _probe(self) -> None:
        """Have everybody be sent something who has had an echo, and was not reached yet."""
        now = time.monotonic()
        identities, groups = [], []
        for client in self._clients:
            if (
                "echoed" in client.times
                and "reached" not in client.times
                and now - client.probed >= PROBE_AGAIN
            ):
                identities.append(client.identity)
                client.probed = now
        for name, group in self._groups.items():
            if group.is_due(now):
                groups.append(name)
                group.probed = now
        for at in range(0, len(identities), 1000):
            self._prober.send(json.dumps({"identities": identities[at : at + 1000]}).encode())
        if groups:
            self._prober.send(json.dumps({"groups": groups}).encode())


async def carry_out(
    plan: CrowdPlan, progress: Callable[[float, int], None], connected: Callable[[], None]
) -> Return:
    """Connect, lose the server, and come back to the other one.

    Raises:
        LoadError: They could not connect, or the server was not killed.
    """
    crowd = Crowd(plan)
    await crowd.connect()
    try:
        await asyncio.to_thread(connected)
        return await crowd.come_back(progress)
    finally:
        crowd.close()


def main() -> int:
    """Carry out the plan that standard input holds; the exit status is 1 when that failed."""

    def run(
        plan: Any, progress: Callable[[float, int], None], connected: Callable[[], None]
    ) -> dict[str, Any]:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return asdict(runner.run(carry_out(CrowdPlan(**plan), progress, connected)))

    return answer(run)


if __name__ == "__main__":
    sys.exit(main())
