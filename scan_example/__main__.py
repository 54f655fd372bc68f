"""``python -m scan_example``: a few sensors of different latency, and one that is slow.

Six quick sensors declare 20 ms; two slow ones declare 1 s and hold their node for 150 ms at every
scan. On one loop the slow ones would make the quick ones miss; the Foreman keeps them apart.
"""

from __future__ import annotations

import argparse
import threading
import time

from foreman import Foreman, ScanWorker
from foreman.events import Event


class Sensor(ScanWorker):
    """Read something every so often; reading takes ``seconds``."""

    def __init__(self, name: str, required_latency: float, seconds: float) -> None:
        super().__init__()
        self.name = name
        self.seconds = seconds
        self.required_latency = required_latency
        self.readings = 0

    def __repr__(self) -> str:
        return self.name

    def scan(self) -> None:
        time.sleep(self.seconds)  # a bus, a disk, a device: plain code that blocks
        self.readings += 1


class QuickSensor(Sensor):
    """Wants to be looked at often, and is done at once."""


class SlowSensor(Sensor):
    """Has time, and takes it."""


def tell(event: Event) -> None:
    worker, node = getattr(event, "worker", ""), getattr(event, "node", None)
    where = f"{worker} -> {node.name}" if worker and node else worker or node.name if node else ""
    print(f"  {type(event).__name__.lower():8} {where!s:18} {event.reason}")


def duration(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise ValueError
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scan_example", description=__doc__)
    parser.add_argument("--seconds", type=duration, default=3.0, help="how long to run (default 3)")
    seconds = parser.parse_args().seconds

    sensors: list[Sensor] = [QuickSensor(f"quick-{i}", 0.020, 0.0001) for i in range(6)]
    sensors += [SlowSensor(f"slow-{i}", 1.0, 0.150) for i in range(2)]
    print("What the Foreman decides:")
    with Foreman(on_event=tell) as foreman:
        try:
            for sensor in sensors:
                foreman.add(sensor)
            time.sleep(seconds)
        except KeyboardInterrupt:
            print("\ninterrupted")
        rows = [(s, s.node.name if s.node else "-", s.statistics()) for s in sensors]

    print(f"\n{'sensor':10}{'node':>8}{'declared':>12}{'mean wait':>12}{'worst':>10}{'missed':>8}")
    for sensor, node, statistics in rows:
        waits = statistics.waits
        print(
            f"{sensor.name:10}{node:>8}{sensor.required_latency * 1e3:>9.0f} ms"
            f"{waits.mean * 1e3:>9.1f} ms{waits.worst * 1e3:>7.1f} ms"
            f"{waits.misses:>4}/{waits.count}"
        )


if __name__ == "__main__":
    main()
