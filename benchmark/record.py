"""Results as a JSON file: with the machine, the versions and the command that gave them."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import zlib
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rich.console import Console

from benchmark.errors import BenchmarkError

RESULTS = Path("benchmark-results")
KEPT = Path(__file__).parent / "results"  # under version control: what the documents are made of
_PACKAGES = (
    *("foreman-server", "wsproto", "uvloop", "picows", "websockets", "aiohttp", "uvicorn"),
    *("aiofastnet", "h11", "zlib-ng", "pyzmq", "pamqp", "aio-pika", "nats-py"),
)
_PROGRAMS = {
    "go": ("go", "version"),
    "erlang": ("erl", "-version"),
    "nats-server": ("nats-server", "--version"),
}
_NUMBER = re.compile(r"\d+(\.\d+)+")


def target(options: Namespace, name: str, variant: str = "") -> Path:
    """The file that a command line asks for (`benchmark.options.add_results`).

    Args:
        options: What was parsed.
        name: The command, which the kept file is named after.
        variant: What a new file's name tells besides.
    """
    if options.save:
        return KEPT / f"{name}.json"
    path: Path | None = options.json
    return path or default_path("-".join(filter(None, (name, variant))))


def default_path(name: str) -> Path:
    """A JSON file in `RESULTS`, which keeps itself out of version control."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return RESULTS / f"{name}-{stamp}.json"


def describe(command: Sequence[str]) -> dict[str, object]:
    """When, on what, and how a measurement was made.

    Args:
        command: The arguments after ``python -m benchmark``.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmark", *command]),
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "architecture": platform.machine(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
        },
        "versions": {
            "python": sys.version.split()[0],
            "openssl": ssl.OPENSSL_VERSION.split()[1],
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
            **_versions(),
        },
    }


def write(path: Path, content: object) -> None:
    """Write a JSON file and the directory it is in.

    Raises:
        BenchmarkError: It cannot be written.
    """
    make_directory(path)
    try:
        path.write_text(json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise BenchmarkError(f"the results cannot be written: {error}") from error


def make_directory(path: Path) -> None:
    """Make the directory that a file of results is to be in.

    Raises:
        BenchmarkError: It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent == RESULTS:
            (RESULTS / ".gitignore").write_text("*\n")
    except OSError as error:
        raise BenchmarkError(f"the results cannot be written: {error}") from error


def save(path: Path, content: object, console: Console) -> None:
    """Write the results and say where they are.

    Raises:
        BenchmarkError: They cannot be written.
    """
    write(path, content)
    console.print(f"Results: {path}", soft_wrap=True)


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # a peer that is not installed, or this package run from a checkout
    for name, command in _PROGRAMS.items():
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if number := _NUMBER.search(done.stdout + done.stderr):
                versions[name] = number[0]
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
