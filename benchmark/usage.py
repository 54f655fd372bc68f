"""CPU time and memory of a process, seen from another one, and CPU time of the whole machine."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen


def cpu_seconds(pid: int) -> float | None:
    """CPU time that all threads of a process used so far, seconds, to the nanosecond.

    It is POSIX's clock_getcpuclockid, for /proc/PID/stat counts in ticks of 10 ms only.

    Returns:
        None where the platform cannot tell.

    Raises:
        ProcessLookupError: There is no such process.
    """
    if not sys.platform.startswith("linux"):
        return None
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(f"process {pid} does not exist")
    return time.clock_gettime(clock.value)


def machine_cpu_seconds() -> float | None:
    """CPU time that everything on this machine used so far, seconds, in ticks of 10 ms.

    Returns:
        None where there is no /proc/stat.
    """
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Memory of a process that is resident, bytes (VmRSS of /proc/PID/status).

    Raises:
        OSError: There is no such process, or no such file on this platform.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/status tells no VmRSS")


@frozen
class Clocks:
    """CPU time of this process, the server's, and everything else, seconds; None where unknown."""

    client: float
    server: float | None
    other: float | None

    @classmethod
    def read(cls, server_pid: int | None) -> Clocks:
        """As they are; the server's is None where there is no such process to be asked about."""
        client, machine = time.process_time(), machine_cpu_seconds()
        server = None if server_pid is None else cpu_seconds(server_pid)
        return cls(client, server, None if machine is None else machine - client - (server or 0.0))

    def since(self, before: Clocks, elapsed: float) -> Clocks:
        """What was used since then, as a share of so many seconds."""

        def share(now: float | None, then: float | None) -> float | None:
            return None if now is None or then is None else max(0.0, now - then) / elapsed

        client = (self.client - before.client) / elapsed
        return Clocks(client, share(self.server, before.server), share(self.other, before.other))


class Bystanders:
    """What processes use that are none of ours, from when this is made.

    Ours are this one, those that it starts and waits for meanwhile, and those that are named.

    Args:
        pids: Further ones, such as brokers, that go on.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._began, self._used = time.monotonic(), self._theirs()

    def share(self) -> float:
        """How many CPUs they took so far; 0 where that is unknown."""
        used = self._theirs()
        if used is None or self._used is None:
            return 0.0
        return max(0.0, used - self._used) / (time.monotonic() - self._began)

    def _theirs(self) -> float | None:
        machine = machine_cpu_seconds()
        if machine is None:
            return None
        times = os.times()
        ours = times.user + times.system + times.children_user + times.children_system
        return machine - ours - sum(cpu_seconds(pid) or 0.0 for pid in self._pids)
