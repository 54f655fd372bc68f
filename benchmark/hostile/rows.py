"""The rows of the table: each puts a fresh server under one kind of attack, and gives its figures.

All with the production defaults, on ordinary connections that declare 10 ms.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import monotonic

from benchmark.errors import BenchmarkError
from benchmark.hostile.catalogue import ATTACKS, FAMILIES
from benchmark.hostile.ground import (
    DECLARED,
    DEFAULTS,
    GRACE,
    KIB,
    MIB,
    Finding,
    Ground,
    Target,
    ask,
)
from benchmark.hostile.peer import HEAD
from benchmark.hostile.promises import fuzz, moves
from benchmark.hostile.vanishing import half_open
from benchmark.usage import resident_bytes

PATIENCE = 30.0  # seconds for what is no figure
LOOK = 0.01  # seconds between two looks

BOMBS = tuple(a.name for a in FAMILIES["bombs"] if a.name.startswith("bomb"))
# Left out: who orders much and does not read it is bounded by the send limit, not by what it sends.
ORDERS = ("reads nothing", "reads a byte now and then")
FLOODS = ("flood of pings", "flood of empty fragments", "flood of tiny messages")


async def bomb(ground: Ground) -> list[Finding]:
    """256 MiB inflated at a limit of 1 MiB, in every shape."""
    grown, stall, wrong = 0, 0.0, 0
    async with ground.target() as target, ground.attacker() as attacker:
        await target.strike(attacker, BOMBS[0])  # what is made once is made now
        for name in BOMBS:
            ground.say(name)
            before = target.forget_peak()
            watching = asyncio.create_task(target.observe(1.0, "ws"))
            await asyncio.sleep(0.5)
            (met,) = await target.strike(attacker, name)
            wrong += met["outcome"] != "close 1009"
            stall = max(stall, (await watching)["ws"].worst)
            grown = max(grown, target.peak() - before)
            await target.quiet()
    return [
        Finding(what="not refused with 1009", value=wrong, bound=0, unit=""),
        Finding(what="memory", value=grown / MIB, bound=4, unit="MiB"),
        Finding(what="others waited at most", value=stall * 1e3, bound=20, unit="ms"),
    ]


async def amplification(ground: Ground) -> list[Finding]:
    """Every hostile input, many at once: memory is at most 8 times the bytes sent, and 64 KiB."""
    worst, worst_name = 0.0, ""
    copies = ground.scale.copies
    async with ground.target() as target, ground.attacker() as attacker:
        for again in (False, True):  # first for what is loaded and pooled when it is first needed
            ground.say(f"{copies} at once of every attack{'' if again else ', to warm up'}")
            for name in ATTACKS:
                if name in ORDERS or ATTACKS[name].deadline:
                    continue
                before = target.forget_peak()
                number = copies if again else max(1, copies // 4)
                met = await target.strike(attacker, name, number, 0.2, 4 * KIB)
                grown = target.peak() - before
                allowed = 8 * sum(each["sent"] for each in met) + 64 * KIB * number
                if again and grown / allowed > worst:
                    worst, worst_name = grown / allowed, name
                await target.quiet()
    return [
        Finding(
            what=f"of 8 x sent + 64 KiB: {worst_name}",
            value=worst,
            bound=1.0,
            unit="x",
        )
    ]


async def slow_peers(ground: Ground) -> list[Finding]:
    """Thousands of sockets in each phase: all gone in time, and a good client gets in meanwhile."""
    handshake = DEFAULTS.handshake_timeout
    defaults: tuple[str, ...] = ()
    # What is in the middle of a message is looked at four times in its time-out.
    phases = [
        ("TCP", "ws", "nothing", handshake, defaults),
        ("TLS", "wss", "half a hello", handshake, defaults),
        ("handshake", "ws", "half a head", handshake, defaults),
        ("first envelope", "tcp", "half an envelope", 5.0, ("--set", "first_message_timeout=5")),
        ("message", "ws", "half a frame", 5.0 * 1.25, ("--set", "message_timeout=5")),
    ]
    findings = []
    for name, listener, saying, deadline, options in phases:
        ground.say(f"{name}: {ground.scale.sockets} sockets")
        async with ground.target(*options) as target, ground.crowd() as crowd:
            probing = asyncio.create_task(_probe(target, deadline + 3.0))
            opened = await ask(
                crowd, do="open", port=target.port(listener), count=ground.scale.sockets,
                rate=2000, say=saying, source="127.0.0.2", small=0,
            )  # fmt: skip
            found = await ask(crowd, do="watch", seconds=deadline + 10)
            connected = await probing
            if opened["refused"]:
                raise BenchmarkError(f"{opened['refused']} could not even connect")
        late = found["lives"] if not found["left"] else float("inf")
        findings += [
            Finding(what=f"{name}: last one gone", value=late, bound=deadline + GRACE, unit="s"),
            Finding(what=f"{name}: good client in", value=connected * 1e3, bound=100, unit="ms"),
        ]
    return findings


async def _probe(target: Target, seconds: float) -> float:
    """Connect and shake hands ten times a second; how long it took at most, seconds."""
    worst = 0.0
    ends = monotonic() + seconds
    while (began := monotonic()) < ends:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port("ws"))
        writer.write(HEAD)
        await reader.readuntil(b"\r\n\r\n")
        worst = max(worst, monotonic() - began)
        writer.close()
        await asyncio.sleep(max(0.0, began + 0.1 - monotonic()))
    return worst


async def slow_reader(ground: Ground) -> list[Finding]:
    """A feed to many of whom a tenth stall: those are cut, the others do not notice."""
    # More than the system, the transport and the send limit take of what is not read.
    rate = 100
    count = round(ground.scale.seconds * rate)
    size = 6 * MIB // count
    subscribers = ground.scale.subscribers
    stalled = subscribers // 10
    p99: dict[int, list[float]] = {0: [], stalled: []}
    cut, lost, kept = 0.0, 0, 0
    for turn in range(4):
        small = stalled if turn % 2 else 0
        ground.say(f"feed to {subscribers}, {small} of them stalled")
        async with ground.target() as target, ground.crowd() as crowd:
            await ask(
                crowd, do="open", port=target.port("ws"), count=subscribers - stalled + small,
                rate=500, say="feed", source="127.0.0.2", small=small,
            )  # fmt: skip
            await target.server.child.write({"publish": count, "size": size, "rate": rate})
            await target.server.child.read(10.0)
            # The last message may come after the time for all of them.
            seconds = count / rate + 20.0
            found = await ask(crowd, do="watch", seconds=seconds, messages=count)
            p99[small].append(found["p99"])
            lost += found["lost"] + (subscribers - stalled) * count - found["messages"]
            if small:
                kept += small - len(found["small_ended"])
                # The system takes megabytes before anything waits for a reader.
                if (stalled_at := (await target.statistics())["stalled"]) is None:
                    raise BenchmarkError("nothing waited for those that stall")
                cut = max([cut, *(ended - stalled_at for ended in found["small_ended"])])
    with_them, without = min(p99[stalled]), min(p99[0])
    return [
        Finding(what="cut after", value=cut, bound=DEFAULTS.write_timeout + GRACE, unit="s"),
        Finding(what="not cut", value=kept, bound=0, unit=""),
        Finding(what="lost for the others", value=lost, bound=0, unit=""),
        Finding(
            what="others' p99, with / without", value=with_them / without, bound=1.25,
            unit="x",
        ),
        Finding(what="others' p99", value=with_them * 1e3, bound=DECLARED * 1e3, unit="ms"),
    ]  # fmt: skip


async def floods(ground: Ground) -> list[Finding]:
    """One client floods: what those near it, on its node, and those far from it get meanwhile."""
    seconds = ground.scale.seconds
    findings = []
    async with ground.target("--apart") as target, ground.attacker() as attacker:
        await target.observe(1.0, "ws", "far")
        for name in FLOODS:
            ground.say(f"{name}, {seconds:g} s")
            before = await target.observe(seconds, "ws", "far")
            resident = target.forget_peak()
            flooding = asyncio.create_task(target.strike(attacker, name, 1, seconds + 1.0))
            await asyncio.sleep(0.5)
            during = await target.observe(seconds, "ws", "far")
            grown = target.peak() - resident
            await flooding
            await target.quiet()
            short = name.removeprefix("flood of ")
            near, far = during["ws"].p99, during["far"].p99
            findings += [
                Finding(
                    what=f"{short}: p99 near, with / without",
                    value=near / before["ws"].p99, bound=2.0, unit="x",
                ),
                Finding(
                    what=f"{short}: p99 far, with / without",
                    value=far / before["far"].p99, bound=1.1, unit="x",
                ),
                Finding(
                    what=f"{short}: p99 of all", value=max(near, far) * 1e3,
                    bound=DECLARED * 1e3, unit="ms",
                ),
                Finding(what=f"{short}: memory", value=grown / MIB, bound=2, unit="MiB"),
            ]  # fmt: skip
    return findings


async def storm(ground: Ground) -> list[Finding]:
    """Thousands connect within seconds, and close; again and again."""
    scale = ground.scale
    refused = 0
    # On nodes whose number is fixed: one that a burst has had spawned stays for longer, and has
    # memory and descriptors of its own, and what is looked for is what connections leave behind.
    async with ground.target("--apart") as target, ground.crowd() as crowd:
        # Twice for what is pooled, and then the first that counts.
        sizes, descriptors = [], []
        for turn in range(scale.storms + 2):
            ground.say(f"storm {turn + 1} of {scale.storms + 2}: {scale.burst} connections")
            opened = await ask(
                crowd, do="open", port=target.port("ws"), count=scale.burst,
                rate=scale.burst / scale.storm, say="handshake",
                source=f"127.0.0.{turn + 2}", small=0,
            )  # fmt: skip
            refused += opened["refused"]
            await ask(crowd, do="leave")
            began = monotonic()
            found = await target.quiet(seconds=30.0)
            await asyncio.sleep(max(0.0, began + scale.storm - monotonic()))
            found = await target.statistics()
            sizes.append(resident_bytes(target.pid))
            descriptors.append(found["descriptors"])
    settled, last = sizes[1], sizes[-1]
    return [
        Finding(what="refused", value=refused, bound=0, unit=""),
        Finding(what="memory, last / first", value=last / settled, bound=1.02, unit="x"),
        Finding(
            what="descriptors, last / first",
            value=descriptors[-1] / descriptors[1], bound=1.02, unit="x",
        ),
    ]  # fmt: skip


async def stop(ground: Ground) -> list[Finding]:
    """SIGTERM with thousands of connections, a tenth of which neither read nor answer."""
    sockets = ground.scale.sockets
    stalled, queued = sockets // 10, 20
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(ground.target())
        crowd = await stack.enter_async_context(ground.crowd())
        ground.say(f"{sockets} connections")
        opened = await ask(
            crowd, do="open", port=target.port("ws"), count=sockets, rate=2000,
            say="feed", source="127.0.0.2", small=stalled,
        )  # fmt: skip
        if opened["refused"]:
            raise BenchmarkError(f"{opened['refused']} were refused")
        # All of it is sent before the signal; it waits where peers have not read it.
        await target.server.child.write({"publish": queued, "size": KIB, "rate": 1000})
        await target.server.child.read(10.0)
        published = await _until_published(target, queued)
        ground.say("SIGTERM")
        process = target.server.child.process
        began = monotonic()
        process.send_signal(signal.SIGTERM)
        watching = asyncio.create_task(
            ask(crowd, do="watch", seconds=DEFAULTS.grace + 5, readers_only=True)
        )
        status = await asyncio.wait_for(process.wait(), DEFAULTS.grace + 10)
        took = monotonic() - began
        found = await watching
    live = sockets - stalled
    return [
        Finding(
            what="not told 1001", value=live - found["codes"].get("1001", 0), bound=0, unit=""
        ),
        Finding(
            what="queued messages lost", value=live * published - found["messages"], bound=0,
            unit="",
        ),
        Finding(what="exit status", value=status, bound=0, unit=""),
        Finding(what="exit after", value=took, bound=DEFAULTS.grace + GRACE, unit="s"),
    ]  # fmt: skip


async def _until_published(target: Target, count: int) -> int:
    """Wait until the server has sent so many messages of the feed."""
    for _ in range(round(PATIENCE / LOOK)):
        if (await target.statistics())["published"] >= count:
            return count
        await asyncio.sleep(LOOK)
    raise BenchmarkError("the feed was not published")


ROWS: dict[str, Callable[[Ground], Awaitable[list[Finding]]]] = {
    "bomb": bomb,
    "amplification": amplification,
    "slow-reader": slow_reader,
    "slow-peers": slow_peers,
    "floods": floods,
    "storm": storm,
    "stop": stop,
    "half-open": half_open,
    "moves": moves,
    "fuzz": fuzz,
}
