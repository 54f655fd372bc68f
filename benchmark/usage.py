"""CPU time and memory of a process, seen from another one, and CPU time of the whole machine."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path


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
