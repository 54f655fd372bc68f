"""A temporary directory with what servers and load clients need.

Sockets, a certificate, the compiled peers; and where the compiled load client is.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from attrs import define, field

from benchmark.errors import BenchmarkError
from benchmark.load.library import Library, compiled_library
from benchmark.peers.compiler import Compiler

TLS = ("wss", "tls")


@define(kw_only=True, eq=False)
class Workspace:
    """One command's files; they vanish with it.

    Attributes:
        directory: Where they are.
        certificate: PEM file with a server's certificate and key, for 127.0.0.1, if TLS is used.
        authority: PEM file with the authority that signed it, if TLS is used.
        library: The load client in C, if it is used and speaks the transport; None otherwise.
        native: The load client in C, whatever it speaks; None where it is not used.
    """

    directory: Path
    certificate: str | None
    authority: str | None
    library: str | None
    native: Library | None = None
    _numbers: Iterator[int] = field(factory=count)

    def socket_path(self) -> str:
        """A path for a Unix socket that was not used before."""
        return str(self.directory / f"{next(self._numbers)}.sock")

    def library_for(self, transport: str, *, deflate: bool = False) -> str | None:
        """The load client in C, if it is used and can do this; None for the one in Python."""
        if self.native is None or self.native.obstacle(tls=transport in TLS, deflate=deflate):
            return None
        return str(self.native.path)

    async def program(self, compiler: Compiler) -> str:
        """The program that a compiler makes, compiled here when it is first asked for.

        Raises:
            BenchmarkError: It could not be compiled.
        """
        return str(await asyncio.to_thread(compiler.compile, self.directory))


@contextmanager
def open_workspace(transport: str, client: str) -> Iterator[Workspace]:
    """Make what a transport and a load client need.

    Args:
        transport: A URL scheme; one with TLS has a certificate made, which also serves others.
        client: ``c``, ``python``, or ``auto`` for C where it can be compiled and do the job.

    Raises:
        BenchmarkError: Something is missing on this machine.
    """
    secured = transport in TLS
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        directory = Path(name)
        certificate, authority = _issue(directory) if secured else (None, None)
        native = None if client == "python" else compiled_library()
        if client == "c":
            obstacle = "it needs Linux and a C compiler"
            if native is not None:
                obstacle = native.obstacle(tls=secured, deflate=False) or ""
            if obstacle:
                raise BenchmarkError(f"the load client in C cannot be used: {obstacle}")
        workspace = Workspace(
            directory=directory,
            certificate=certificate,
            authority=authority,
            library=None,
            native=native,
        )
        workspace.library = workspace.library_for(transport)
        yield workspace


def _issue(directory: Path) -> tuple[str, str]:
    if find_spec("trustme") is None:
        raise BenchmarkError("trustme is not installed: pip install 'foreman-server[bench]'")
    import trustme

    authority = trustme.CA()
    certificate, trusted = directory / "server.pem", directory / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(trusted))
    return str(certificate), str(trusted)
