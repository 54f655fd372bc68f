"""TLS without a socket: records in, plain bytes out, and the other way round.

Tied to no loop, so a connection under TLS moves between loops like any other.
"""

from __future__ import annotations

import ssl

from netwire.errors import LocalError, TlsError

# Longest plaintext of one record (RFC 8446, section 5.1). OpenSSL gives one record a call, so a
# larger buffer would be allocated for nothing.
_RECORD = 16 * 1024


class TlsEngine:
    """One end of a TLS connection. Not thread-safe: two threads in one engine crash OpenSSL.

    What it holds is bounded by the data of one call, an incomplete record, and what nobody has
    taken with `take_output`.

    Args:
        context: The certificates, protocols and checks to use.
        server_side: Whether this is the end that was connected to.
        server_hostname: On a client, the name that the server's certificate must have; None only
            where the context checks no names.

    Attributes:
        handshaken: Whether `encrypt` may be called.
        peer_closed: Whether the peer ended its stream in good order. An end of stream without it
            may be an attacker's cut (RFC 8446, section 6.1).
    """

    __slots__ = (
        "_begun",
        "_closing",
        "_incoming",
        "_object",
        "_outgoing",
        "handshaken",
        "peer_closed",
    )

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._begun = False
        self._closing = False
        self.handshaken = False
        self.peer_closed = False

    def start(self) -> bytes:
        """What this side sends first: a client's hello, nothing on a server."""
        self._handshake()
        return self._outgoing.read()

    def receive(self, data: bytes) -> bytes:
        """Take what arrived, then ask `take_output`.

        Returns:
            The plaintext that is complete now, never longer than the records it came in; ``b""``
            while there is none.

        Raises:
            TlsError: The handshake or a record is bad. Its ``received`` is the plaintext of the
                records before it; `take_output` gives the alert that tells the peer.
        """
        if self.peer_closed:
            return b""
        self._incoming.write(data)
        if not self.handshaken:
            if not self._begun and data:
                self._begun = True
                if 0x20 <= data[0] <= 0x7E:
                    raise TlsError("the peer speaks plain text where TLS was expected")
            self._handshake()
            if not self.handshaken:
                return b""
        return self._read()

    def take_output(self) -> bytes:
        """What must be written though nobody sent it: handshake, key updates, alerts."""
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """``data`` as records to write, with whatever `take_output` had to give before them.

        Raises:
            LocalError: The handshake is not done, or `close` was called.
        """
        if not self.handshaken or self._closing:
            raise LocalError("cannot encrypt: TLS is " + ("closed" if self._closing else "not up"))
        try:
            # All of it at once: a memory buffer is never full, and Python does not ask OpenSSL for
            # partial writes (SSL_MODE_ENABLE_PARTIAL_WRITE of SSL_CTX_set_mode).
            if data:
                self._object.write(data)
        except ssl.SSLError as error:
            raise _failure(error, b"") from error
        return self._outgoing.read()

    def close(self) -> bytes:
        """The alert that ends our stream in good order; ``b""`` when there is nothing to end."""
        if not self.handshaken or self._closing:
            return b""
        self._closing = True
        try:
            self._object.unwrap()
        except ssl.SSLError:
            # It wants the peer's alert too, or dislikes what the peer still sends. Ours is
            # written by then, and the peer's arrives through `receive`.
            pass
        return self._outgoing.read()

    def _handshake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise _failure(error, b"") from error
        self.handshaken = True

    def _read(self) -> bytes:
        incoming = self._incoming
        records: list[bytes] = []
        try:
            # An empty input means that every record was whole: to ask once more would only cost
            # an exception.
            while incoming.pending:
                record = self._object.read(_RECORD)
                if not record:
                    self.peer_closed = True
                    break
                records.append(record)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.peer_closed = True
        except ssl.SSLError as error:
            raise _failure(error, b"".join(records)) from error
        return records[0] if len(records) == 1 else b"".join(records)


def _failure(error: ssl.SSLError, received: bytes) -> TlsError:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"the peer's certificate was refused: {error.verify_message}"
    else:
        reason = f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return TlsError(reason, received)
