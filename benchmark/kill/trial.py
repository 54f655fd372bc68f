"""The kill test itself: the broker, the servers and the crowd, and what is done to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from random import Random
from time import monotonic
from typing import Any

from attrs import asdict, define, field, frozen

from benchmark.brokers.nats import NatsServer, nats_server
from benchmark.brokers.process import free_port
from benchmark.errors import BenchmarkError
from benchmark.kill.crowd import Count, Plan, Scene
from benchmark.processes import READY_TIMEOUT, Child, child

SITE = "benchmark.kill.site"
START_TIMEOUT = 60.0  # seconds, for everything to be there at first
GLANCE = 0.1  # seconds between two looks at presence
PROMISED = 10.0  # seconds after a kill in which presence is right again
HOPELESS = 30.0  # seconds after which it is not waited for
FINISH = 30.0  # seconds for everything to be received at the end
DOWN = 2.0  # seconds that the broker is away
SCATTERED = 0.1  # of the clients lose their connections meanwhile


class What(Enum):
    """What is killed."""

    SERVERS = "servers"
    BROKER = "broker"


@frozen(kw_only=True)
class Settings:
    """How it is done.

    Args:
        servers, clients, groups: How many.
        rate: Messages a second of each client.
        seconds: For how long one thing after the other is killed.
        calm: How long it is, when all is well again, until the next kill: from half of it to half
            as much again, seconds.
        dead_after: As of `netserver.ClusterConfig`.
        seed: For what is drawn at random.
    """

    servers: int
    clients: int
    groups: int
    rate: float
    seconds: float
    calm: float
    dead_after: float
    seed: int


@frozen(kw_only=True)
class Kill:
    """One kill.

    Args:
        at: When, seconds from the beginning.
        victim: What was killed.
        clients: How many lost their connections: those of the server, or, while the broker is away,
            some that are to come back meanwhile.
        presence: How long presence was not right on every server, seconds from the kill on; None
            where it was not right within `HOPELESS`.
    """

    at: float
    victim: str
    clients: int
    presence: float | None


@frozen(kw_only=True)
class Outcome:
    """What came of it.

    Args:
        what: What was killed.
        kills: One after the other.
        count: What became of the messages.
    """

    what: What
    kills: tuple[Kill, ...]
    count: Count

    @property
    def faults(self) -> list[str]:
        """What is not as it is promised; empty where all is."""
        count = self.count
        wrong = {
            "lost": count.lost,
            "doubled": count.doubled,
            "out of order": count.reordered,
            "not taken": count.said - count.taken,
            "not recovered": count.unrecovered,
        }
        found = [f"{number:,} {name}" for name, number in wrong.items() if number]
        late = sum(kill.presence is None or kill.presence > PROMISED for kill in self.kills)
        if late:
            found.append(f"presence not right within {PROMISED:g} s of {late} kills")
        return found


@define(eq=False)
class Post:
    """One server, through several lives of it on one port.

    Args:
        name: What errors call it.
        port: Where.
        cluster: The backplane's URL.
        dead_after: As of `netserver.ClusterConfig`.
    """

    name: str
    port: int
    cluster: str
    dead_after: float
    _life: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _child: Child | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it serves.

        Raises:
            BenchmarkError: It does not.
        """
        arguments = {
            "--port": str(self.port),
            "--cluster": self.cluster,
            "--dead-after": str(self.dead_after),
        }
        program = child(
            self.name,
            SITE,
            [word for pair in arguments.items() for word in pair],
            None,
        )
        self._child = await self._life.enter_async_context(program)
        await self._child.read(READY_TIMEOUT)

    async def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._child is not None
        self._child.process.kill()
        await self._child.process.wait()
        await self.end()

    async def end(self) -> None:
        """End it, if it runs."""
        self._child = None
        await self._life.aclose()

    async def ask(self) -> dict[str, Any]:
        """Who is in which group, as it knows it."""
        assert self._child is not None
        await self._child.write({})
        return await self._child.read(READY_TIMEOUT)


async def run_trial(
    settings: Settings, what: What, progress: Callable[[float, int], None]
) -> Outcome:
    """Kill one thing after the other, and count.

    Args:
        settings: How.
        what: What.
        progress: Called with the seconds since the first message and the messages so far.

    Raises:
        BenchmarkError: Something did not start, or ended by itself.
    """
    async with AsyncExitStack() as running:
        broker = running.enter_context(nats_server(jetstream=True))
        posts = [
            Post(f"server {number}", free_port(), broker.url, settings.dead_after)
            for number in range(settings.servers)
        ]
        for post in posts:
            running.push_async_callback(post.end)
        await asyncio.gather(*(post.start() for post in posts))
        crowd = await running.enter_async_context(_crowd(settings, posts))
        trial = _Trial(settings, what, broker, posts, crowd, progress)
        return await trial.run()


@asynccontextmanager
async def _crowd(settings: Settings, posts: list[Post]) -> AsyncIterator[Child]:
    plan = Plan(
        urls=[post.url for post in posts],
        clients=settings.clients,
        groups=settings.groups,
        rate=settings.rate,
        seed=settings.seed,
    )
    async with child("the crowd", "benchmark.kill.crowd", (), None) as crowd:
        await crowd.write(asdict(plan))
        await crowd.read(START_TIMEOUT)
        yield crowd


class _Trial:
    """One run, when everything is there."""

    def __init__(
        self,
        settings: Settings,
        what: What,
        broker: NatsServer,
        posts: list[Post],
        crowd: Child,
        progress: Callable[[float, int], None],
    ) -> None:
        self._settings = settings
        self._what = what
        self._broker = broker
        self._posts = posts
        self._crowd = crowd
        self._progress = progress
        self._random = Random(settings.seed)
        self._began = monotonic()
        self._count: Count | None = None

    async def run(self) -> Outcome:
        if await self._await_presence(self._began) is None:
            raise BenchmarkError("presence was never right")
        self._began = monotonic()
        await self._crowd.write({"talk": True})
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen())
            kills = []
            while (kill := await self._kill_once()) is not None:
                kills.append(kill)
            await self._crowd.write({"finish": FINISH})
        return Outcome(what=self._what, kills=tuple(kills), count=listening.result())

    async def _listen(self) -> Count:
        while True:
            said = await self._crowd.read(READY_TIMEOUT)
            if "result" in said:
                return Count(**said["result"])
            scene = Scene(**said["scene"])
            self._progress(monotonic() - self._began, scene.said)

    async def _kill_once(self) -> Kill | None:
        """Kill, start again, and wait until all is as before; None when the time is over."""
        calm = self._settings.calm
        await asyncio.sleep(self._random.uniform(calm / 2, calm * 3 / 2))
        post = self._random.choice(self._posts)
        clients = sum(map(len, (await post.ask())["own"].values()))
        at = monotonic()
        if at - self._began >= self._settings.seconds:
            return None
        if self._what is What.SERVERS:
            victim = post.name
            await post.kill()
            await post.start()
        else:
            victim = self._broker.process.name
            clients = round(SCATTERED * self._settings.clients)
            self._broker.process.kill()
            await self._crowd.write({"scatter": clients})
            await asyncio.sleep(DOWN)
            self._broker.process.start()
        presence = await self._await_presence(at)
        return Kill(at=at - self._began, victim=victim, clients=clients, presence=presence)

    async def _await_presence(self, since: float) -> float | None:
        """Wait until presence is right on every server; how long it took since then."""
        while monotonic() - since < HOPELESS:
            if self._is_right([await post.ask() for post in self._posts]):
                return monotonic() - since
            await asyncio.sleep(GLANCE)
        return None

    def _is_right(self, told: list[dict[str, Any]]) -> bool:
        """Whether every server knows everybody, each once, in the groups that it has members of."""
        truth: dict[str, list[list[str]]] = {}
        for one in told:
            for group, names in one["own"].items():
                truth.setdefault(group, []).extend([name, one["id"]] for name in names)
        here = {name for members in truth.values() for name, _ in members}
        if not len(here) == sum(map(len, truth.values())) == self._settings.clients:
            return False
        return all(
            sorted(one["presence"][group]) == sorted(truth[group])
            for one in told
            for group in one["own"]
        )
