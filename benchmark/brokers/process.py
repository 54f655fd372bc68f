"""A broker's process: started, waited for, frozen, killed and started again on the same port."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field

from benchmark.errors import BenchmarkError

STOP_TIMEOUT = 10.0  # seconds; after it, SIGKILL
# Below those that systems give to connections, one of which would take it before the broker does.
PORTS = range(15_000, 32_000)

LOG_SHOWN = 2000  # bytes of a failed broker's log

# Reads until we, who hold the other end, are gone; then it ends the session of the broker.
GUARD = 'read -r _; kill -KILL "-$1"'


class BrokerMissing(BenchmarkError):
    """The broker's program is not on this machine."""


def find_program(name: str, package: str) -> str:
    """Where a broker's program is.

    Args:
        name: Its name, looked for on the path and where Debian has its daemons.
        package: The system's package that has it.

    Raises:
        BrokerMissing: It is not there.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise BrokerMissing(f"{name} is not installed: apt-get install {package}")
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at the moment.

    Raises:
        BenchmarkError: None was found.
    """
    for port in random.sample(PORTS, 100):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise BenchmarkError(f"no free port found from {PORTS.start} to {PORTS.stop - 1}")


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@define(kw_only=True, eq=False)
class BrokerProcess:
    """One broker, through several lives of it. Blocks; not thread-safe.

    It gets a session of its own, and signals go to all of that, so that a start script and what it
    starts are one. If this process is killed, it is killed too.

    Attributes:
        name: What errors call it.
        command: Its command line.
        log: Where its output is kept; it runs in the directory of that.
        ready: Whether it serves.
        patience: How long it may take until then, seconds.
        environment: Its environment; None for ours.
    """

    name: str
    command: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    patience: float = 10.0
    environment: Mapping[str, str] | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _guard: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The id of the process started last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it serves.

        Raises:
            BenchmarkError: It ended instead, or took too long.
        """
        self._dismiss_guard()  # if it ended by itself
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.log.parent,  # where it leaves what it leaves when it crashes
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + self.patience
        while not self.ready():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                why = "ended" if ended else f"does not serve after {self.patience:g} s"
                raise BenchmarkError(f"{self.name} {why}:\n{self._said()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in good order: SIGTERM, and SIGKILL when that takes too long."""
        if self._process is None:
            return
        self._dismiss_guard()
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a frozen one would not hear of it
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is None:
            return
        self._dismiss_guard()
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Halt it: its connections stay, and nothing comes from it any more."""
        self._signal(signal.SIGSTOP)
        if self._process is not None and self._process.returncode is None:
            # The signal is not yet the halt: its threads stop one after the other. WNOWAIT leaves
            # its end, if it is that, to whoever waits for it.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _dismiss_guard(self) -> None:
        # Before the broker is waited for, for then its id may become another's.
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()  # closes the pipe too
            self._guard = None

    def _signal(self, number: signal.Signals) -> None:
        # Not once it was waited for: its id may be another's by then.
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                pass  # it ended by itself

    def _said(self) -> str:
        return self.log.read_bytes()[-LOG_SHOWN:].decode(errors="replace")
