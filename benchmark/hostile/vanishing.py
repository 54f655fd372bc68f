"""Half-open connections: peers that are silent, and peers whose packets go nowhere any more."""

from __future__ import annotations

from time import monotonic

from benchmark.errors import BenchmarkError
from benchmark.hostile.ground import GRACE, Finding, Ground, ask

INTERVAL, TIMEOUT = 2.0, 2.0  # of pings, and of the system's probes, seconds
SETTINGS = (
    *("--set", f"ping_interval={INTERVAL:g}", "--set", f"ping_timeout={TIMEOUT:g}"),
    *("--set", f"keepalive_interval={INTERVAL:g}", "--set", f"keepalive_timeout={TIMEOUT:g}"),
    *("--set", f"write_timeout={TIMEOUT:g}"),  # by default less than the probes take, too
)
BOUND = INTERVAL + TIMEOUT + GRACE
PATIENCE = 20.0  # seconds
SETTLING = 1.0  # seconds in which all are open, and have nothing under way


async def half_open(ground: Ground) -> list[Finding]:
    """Peers that answer nothing, and of which there is no end of the stream."""
    ground.say(f"pings and probes every {INTERVAL:g} s, answers due in {TIMEOUT:g} s")
    return [
        Finding(what="silent: noticed after", value=await _silent(ground), bound=BOUND, unit="s"),
        Finding(
            what="vanished, WebSocket: noticed after",
            value=await _vanished(ground, "ws", "handshake"), bound=BOUND, unit="s",
        ),
        Finding(
            what="vanished, TCP: noticed after",
            value=await _vanished(ground, "tcp", "an envelope"), bound=BOUND, unit="s",
        ),
    ]  # fmt: skip


async def _silent(ground: Ground) -> float:
    """Their systems are there, and acknowledge pings; nobody answers them."""
    count = ground.scale.subscribers
    async with ground.target(*SETTINGS) as target, ground.crowd() as crowd:
        await ask(
            crowd, do="open", port=target.port("ws"), count=count, rate=1000, say="handshake",
            source="127.0.0.2", small=count,
        )  # fmt: skip
        found = await ask(crowd, do="watch", seconds=PATIENCE)
    lives: float = found["lives"]
    return float("inf") if found["left"] else lives


async def _vanished(ground: Ground, listener: str, saying: str) -> float:
    """Nothing that is sent to them arrives from one moment on, and they say nothing more."""
    ground.say(f"packets to peers of {listener} are dropped")
    count = ground.scale.subscribers
    async with ground.target(*SETTINGS) as target, ground.crowd() as crowd:
        await ask(
            crowd, do="open", port=target.port(listener), count=count, rate=1000, say=saying,
            source="127.0.0.2", small=0,
        )  # fmt: skip
        await ask(crowd, do="watch", seconds=SETTLING)
        opened = await target.statistics()
        if opened["connections"] != count:
            raise BenchmarkError(f"{opened['connections']} of {count} are open")
        began = monotonic()
        await ask(crowd, do="vanish")
        await target.quiet(seconds=PATIENCE)
        return monotonic() - began
