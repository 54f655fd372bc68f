"""Peers in other languages: their compilers, and how their programs come to be."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

from benchmark.errors import BenchmarkError

COMPILE_TIMEOUT = 120.0  # seconds; Go compiles its standard library first where it finds none


@frozen(kw_only=True)
class Compiler:
    """Makes one program of one source file, without anything from the network.

    Args:
        command: What to call, up to the directory that the program goes into.
        source: The file, beside this module.
        program: What the program is called.
        package: What Debian calls the package with the compiler.
    """

    command: tuple[str, ...]
    source: str
    program: str
    package: str

    def obstacle(self) -> str | None:
        """Why it cannot be used, or None when it can."""
        if shutil.which(self.command[0]) is None:
            return f"{self.command[0]} is not installed: apt-get install {self.package}"
        return None

    def compile(self, directory: Path) -> Path:
        """Compile into ``directory``, unless that was done before.

        Returns:
            The program.

        Raises:
            BenchmarkError: The compiler failed; the message holds what it said.
        """
        program = directory / self.program
        if program.exists():
            return program
        source = Path(__file__).with_name(self.source)
        command = [*self.command, str(directory), str(source)]
        try:
            done = subprocess.run(
                command,
                env=_environment(directory),
                capture_output=True,
                text=True,
                timeout=COMPILE_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"{' '.join(command)} took {COMPILE_TIMEOUT:g} s") from None
        if done.returncode:
            said = (done.stderr + done.stdout).strip()  # erlc complains on its standard output
            raise BenchmarkError(f"{' '.join(command)} failed:\n{said}")
        return program


def _environment(home: Path) -> dict[str, str]:
    """Go without modules and without a C compiler; both compilers want a home."""
    return {
        "HOME": str(home),
        **os.environ,
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }


GO = Compiler(
    command=("go", "build", "-o"),
    source="go_server.go",
    program="go_server",
    package="golang-go",
)
ERLANG = Compiler(
    command=("erlc", "-o"),
    source="erlang_server.erl",
    program="erlang_server.beam",
    package="erlang-base",
)
