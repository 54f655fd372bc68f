"""A RabbitMQ of our own on loopback."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import define

from benchmark.brokers.process import (
    BrokerMissing,
    BrokerProcess,
    find_program,
    free_port,
    listens,
)
from benchmark.errors import BenchmarkError

# The scripts themselves: those on the path switch to a user of their own, which needs root.
SCRIPTS = Path("/usr/lib/rabbitmq/bin")

START_TIMEOUT = 50.0  # seconds; it takes 6 on an idle machine
CALL_TIMEOUT = 30.0

# One scheduler that does not spin, for it shares the CPUs with what is measured; and nothing that
# listens to other machines.
ERLANG_OPTIONS = (
    "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
)
SETTINGS = {
    "log.console": "true",
    "log.file": "false",
    "vm_memory_high_watermark.absolute": "512MB",
    "disk_free_limit.absolute": "50MB",
}


@define(eq=False)
class RabbitMq:
    """A RabbitMQ, through several lives on one port.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        directory: Its files.
        process: To stop, kill, freeze and start it again.
    """

    port: int
    directory: Path
    process: BrokerProcess

    @property
    def url(self) -> str:
        """Where a client finds it, with the user that it has by default."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    def evaluate(self, expression: str) -> str:
        """Have it run an expression of Erlang; ``rabbitmqctl`` would take seconds for the same.

        Returns:
            What that came to.

        Raises:
            BenchmarkError: It cannot be reached, or the expression failed.
        """
        environment = self.process.environment
        assert environment is not None
        done = subprocess.run(
            [find_program("erl_call", "erlang-base"), "-n", environment["RABBITMQ_NODENAME"], "-e"],
            env=environment,  # the cookie is in its home
            input=f"{expression}.\n",
            capture_output=True,
            text=True,
            timeout=CALL_TIMEOUT,
            check=False,
        )
        result = done.stdout.strip()
        if done.returncode != 0 or not result.startswith("{ok, "):
            raise BenchmarkError(f"{expression} failed: {result}{done.stderr}")
        return result.removeprefix("{ok, ").removesuffix("}")


@contextmanager
def rabbitmq_server(settings: Mapping[str, str] | None = None) -> Iterator[RabbitMq]:
    """Run RabbitMQ for the length of the block.

    Args:
        settings: More of its ``rabbitmq.conf``; None for nothing.

    Raises:
        BrokerMissing: rabbitmq-server, or what it needs of Erlang, is not installed.
        BenchmarkError: It does not start.
    """
    script = SCRIPTS / "rabbitmq-server"
    if not script.exists():
        raise BrokerMissing(f"{script} is not there: apt-get install rabbitmq-server")
    mapper_program = find_program("epmd", "erlang-base")
    with tempfile.TemporaryDirectory(prefix="rabbitmq-") as name, ExitStack() as running:
        directory, port, mapper_port = Path(name), free_port(), free_port()
        lines = {"listeners.tcp.default": f"127.0.0.1:{port}", **SETTINGS, **(settings or {})}
        configuration = "".join(f"{key} = {value}\n" for key, value in lines.items())
        (directory / "rabbitmq.conf").write_text(configuration)
        (directory / "enabled_plugins").write_text("[].\n")
        environment = _environment(directory, port, mapper_port)
        # Erlang's port mapper: started by us, it is ours to end; by Erlang, it would stay.
        mapper = BrokerProcess(
            name="epmd",
            command=[mapper_program],
            log=directory / "epmd.log",
            ready=lambda: listens(mapper_port),
            environment=environment,
        )
        process = BrokerProcess(
            name="rabbitmq-server",
            command=[str(script)],
            log=directory / "log",
            ready=lambda: listens(port),  # which it does when all else is ready
            patience=START_TIMEOUT,
            environment=environment,
        )
        running.callback(mapper.kill)
        mapper.start()
        running.callback(process.kill)  # nothing of it has to last
        process.start()
        yield RabbitMq(port, directory, process)


def _environment(directory: Path, port: int, mapper_port: int) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(directory),  # for the cookie
        "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes Erlang, and starts no second process
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_OPTIONS,
    }
