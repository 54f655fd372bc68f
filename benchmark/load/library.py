"""The load clients in C, compiled when they are needed."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from attrs import frozen

from benchmark.load.client import LoadError

COMPILE_TIMEOUT = 60.0
_SOURCES = tuple(
    Path(__file__).with_name(name)
    for name in ("load.c", "paced.c", "audience.c", "dial.c", "tls.c")
)
_TLS = ("openssl/ssl.h", "-DTLS", "-lssl", "-lcrypto")  # the header, then what the compiler is told
_DEFLATE = ("zlib.h", "-DDEFLATE", "-lz")


@frozen(kw_only=True)
class Library:
    """What was compiled.

    Args:
        path: Where it is.
        tls: Whether it speaks TLS.
        deflate: Whether it inflates permessage-deflate.
    """

    path: Path
    tls: bool
    deflate: bool

    def obstacle(self, *, tls: bool, deflate: bool) -> str | None:
        """Why it cannot do that, or None when it can."""
        if tls and not self.tls:
            return "OpenSSL's headers are not installed: apt-get install libssl-dev"
        if deflate and not self.deflate:
            return "zlib's headers are not installed: apt-get install zlib1g-dev"
        return None


@cache
def compiled_library() -> Library | None:
    """What `compile_library` makes, made once in the life of this process, and removed with it."""
    directory = tempfile.TemporaryDirectory(prefix="benchmark-load-")
    atexit.register(directory.cleanup)
    return compile_library(Path(directory.name))


def compile_library(directory: Path) -> Library | None:
    """Compile the clients into `directory`, with what there are headers for.

    Returns:
        The library, or None where there is no C compiler or no epoll to use it with.

    Raises:
        LoadError: There is a compiler and it failed; the message holds what it said.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = directory / "load.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), *map(str, _SOURCES)]
    tls, deflate = (_has_header(compiler, header) for header, *_ in (_TLS, _DEFLATE))
    command += [*_TLS[1:]] * tls + [*_DEFLATE[1:]] * deflate
    done = _run(command)
    if done.returncode:
        raise LoadError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return Library(path=library, tls=tls, deflate=deflate)


def _has_header(compiler: str, header: str) -> bool:
    command = [compiler, "-E", "-x", "c", "-o", "/dev/null", "-"]
    return _run(command, f"#include <{header}>\n").returncode == 0


def _run(command: list[str], source: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=source,
        capture_output=True,
        text=True,
        timeout=COMPILE_TIMEOUT,
        check=False,
    )
