"""TLS connections of the clients in C: OpenSSL, called through ctypes (`tls.c`)."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from types import TracebackType
from typing import TypeAlias


class NativeTls:
    """A TLS connection over a socket, which it owns, as far as handshakes need it in Python.

    Args:
        context: Whose authority it trusts.
        sock: Connected, blocking.
        host: Whom the certificate must name.

    Attributes:
        handle: OpenSSL's object, for the client in C; 0 once closed.

    Raises:
        OSError: The handshake failed.
    """

    def __init__(self, context: NativeTlsContext, sock: socket.socket, host: str) -> None:
        self._library = context.library
        self._context = context  # whose callbacks OpenSSL may still need
        self._sock = sock
        self.handle: int = context.library.tls_new(context.handle, sock.fileno(), host.encode())
        timeout = sock.gettimeout()
        sock.settimeout(None)  # OpenSSL reads from the descriptor, for which Python cannot wait
        if timeout is not None:
            _limit(sock, timeout)
        why = self._library.tls_connect(self.handle)
        if why is not None:
            raise OSError(why.decode())

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Whether the socket blocks."""
        self._sock.setblocking(flag)

    def sendall(self, data: bytes) -> None:
        """Send all of it, on a blocking socket."""
        while data:
            data = data[self.send(data) :]

    def send(self, data: bytes) -> int:
        """Send some of it, and tell how much."""
        return self._outcome(self._library.tls_send(self.handle, data, len(data)))

    def recv(self, size: int) -> bytes:
        """Receive what is there; nothing at the end."""
        buffer = ctypes.create_string_buffer(size)
        count = self._outcome(self._library.tls_recv(self.handle, buffer, size))
        return buffer.raw[:count]

    def close(self) -> None:
        """Close the socket and let go of everything."""
        handle, self.handle = self.handle, 0
        if handle:
            self._library.tls_free(handle)
        self._sock.close()

    def __enter__(self) -> NativeTls:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @staticmethod
    def _outcome(count: int) -> int:
        if count < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return count


class NativeTlsContext:
    """What the TLS connections of a run share; it lives as long as they do.

    Args:
        library: The compiled clients, with TLS.
        authority: PEM file with the certificate to trust.

    Raises:
        OSError: The file cannot be read.
    """

    def __init__(self, library: str, authority: str) -> None:
        self.library = ctypes.CDLL(library, use_errno=True)
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        for name, result, arguments in (
            ("tls_context", pointer, (ctypes.c_char_p,)),
            ("tls_context_free", None, (pointer,)),
            ("tls_new", pointer, (pointer, ctypes.c_int, ctypes.c_char_p)),
            ("tls_connect", ctypes.c_char_p, (pointer,)),
            ("tls_send", ctypes.c_ssize_t, (pointer, ctypes.c_char_p, size)),
            ("tls_recv", ctypes.c_ssize_t, (pointer, ctypes.c_char_p, size)),
            ("tls_free", None, (pointer,)),
        ):
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments
        self.handle: int | None = self.library.tls_context(authority.encode())
        if not self.handle:
            raise OSError(f"{authority} cannot be read as a certificate")

    def close(self) -> None:
        """Let go of it, when all connections are closed."""
        handle, self.handle = self.handle, None
        self.library.tls_context_free(handle)


Channel: TypeAlias = socket.socket | NativeTls


def tls_of(channel: Channel) -> int | None:
    """OpenSSL's object behind a channel, for the client in C; None for a plain socket."""
    return channel.handle if isinstance(channel, NativeTls) else None


def _limit(sock: socket.socket, seconds: float) -> None:
    whole = int(seconds)
    value = struct.pack("@ll", whole, round((seconds - whole) * 1e6))  # struct timeval
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, value)
