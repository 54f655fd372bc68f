"""CURVE: who may talk to this server, and the keys for it.

Both ends of each connection are authenticated and all is encrypted: a server proves to have the
secret key that belongs to the public key it is reached under, and a caller is let in by ZeroMQ's
authentication protocol (ZAP, RFC 27) if its public key is a trusted one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import zmq
from attrs import field, frozen
from zmq.auth import create_certificates, load_certificate
from zmq.utils import z85

from netserver.backplane.zeromq.pump import Pump
from netserver.backplane.zeromq.wire import NO_KEY

log = logging.getLogger(__name__)

_DOMAIN = b"backplane"

# So many different callers are told of in the log, and no more: a stranger can make keys.
_MOST_TOLD = 100


@frozen
class Keys:
    """A server's own keys, and those that it trusts; 32 bytes each.

    Args:
        public, secret: Its own.
        trusted: The public keys of the others.
    """

    public: bytes
    secret: bytes = field(repr=False)
    trusted: frozenset[bytes]

    def serve(self, socket: zmq.Socket[bytes]) -> None:
        """Let only those in who know this server's key, and whom a `Gatekeeper` lets in."""
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        socket.zap_domain = _DOMAIN
        # Without this, all would be let in if nobody answered.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def call(self, socket: zmq.Socket[bytes], server: bytes) -> None:
        """Connect only to whoever has the secret key that belongs to this one."""
        socket.curve_publickey, socket.curve_secretkey = self.public, self.secret
        socket.curve_serverkey = server

    def candidates(self, told: bytes) -> list[bytes]:
        """The keys that a peer may have, the likeliest first.

        Args:
            told: What another peer says it has; `NO_KEY` if none does.
        """
        rest = sorted(self.trusted - {told})
        return [told, *rest] if told in self.trusted else rest


def load_keys(own: Path, trusted: Path) -> Keys:
    """Read certificates as `zmq.auth` and czmq write them.

    Args:
        own: The file with this server's secret key.
        trusted: A public certificate, or a folder of ``*.key`` files.

    Raises:
        ValueError: A file has no such key.
        OSError: It cannot be read.
    """
    public, secret = load_certificate(own)
    if secret is None:
        raise ValueError(f"{own} has no secret key")
    files = sorted(trusted.glob("*.key")) if trusted.is_dir() else [trusted]
    if not files:
        raise ValueError(f"{trusted} has no *.key file")
    return Keys(
        _decode(own, public),
        _decode(own, secret),
        frozenset(_decode(file, load_certificate(file)[0]) for file in files),
    )


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a pair of keys; only their owner can read the files.

    Returns:
        The public certificate, ``NAME.key``, and the secret one, ``NAME.key_secret``.

    Raises:
        FileExistsError: There is one of that name.
        OSError: They cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (folder / f"{name}.key", folder / f"{name}.key_secret"):
        # Made first, so that the key is at no time readable for others.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    public, secret = create_certificates(folder, name)
    return Path(public), Path(secret)


def _decode(file: Path, text: bytes) -> bytes:
    try:
        key = z85.decode(text)
    except (KeyError, ValueError):
        key = b""
    if len(key) != len(NO_KEY):
        raise ValueError(f"{file} has a key that is none")
    return bytes(key)


class Gatekeeper:
    """Answers ZeroMQ's question whether a caller may come in. On the loop's thread.

    Attributes:
        refused: How often it said no.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: Keys,
    ) -> None:
        self._keys = keys
        self._told: set[tuple[bytes, bytes]] = set()
        self.refused = 0
        socket = context.socket(zmq.REP)
        socket.bind("inproc://zeromq.zap.01")
        self._pump = Pump(loop, socket, self._asked)

    def close(self) -> None:
        self._pump.close()

    def _asked(self, parts: list[bytes]) -> None:
        # Version, request, domain, address, identity, mechanism, key. It comes from ZeroMQ itself.
        _, request, domain, address, _, mechanism, *credentials = parts
        trusted = domain == _DOMAIN and mechanism == b"CURVE" and len(credentials) == 1
        if trusted and credentials[0] in self._keys.trusted:
            self._answer(request, b"200", b"OK")
            return
        self.refused += 1
        self._answer(request, b"400", b"not trusted")
        caller = (address, credentials[0] if credentials else b"")
        if caller not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(caller)
            key = z85.encode(caller[1]).decode() if len(caller[1]) == len(NO_KEY) else "none"
            log.warning(
                "refused a peer from %s, whose key is not trusted: %s", address.decode(), key
            )

    def _answer(self, request: bytes, status: bytes, text: bytes) -> None:
        self._pump.send((b"1.0", request, status, text, b"", b""))
