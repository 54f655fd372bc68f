"""Target: TLS, at first garbage, then damage to what a good peer sends."""

from __future__ import annotations

import ssl
from functools import cache

import trustme

from fuzz.errors import demand
from fuzz.inputs import Input
from netwire import TlsEngine, TlsError

_CLIENT, _DAMAGED = 2, 3
"""The options that the client is tried, and that the handshake is good."""

_PLAIN = [b"hello", b"x" * 20_000, b"", b"good-bye"]


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def _engines() -> tuple[TlsEngine, TlsEngine]:
    server, client = _contexts()
    return (
        TlsEngine(server, server_side=True),
        TlsEngine(client, server_side=False, server_hostname="localhost"),
    )


def tls(data: bytes) -> None:
    """Garbage instead of a handshake, or a damaged stream behind a good one."""
    given = Input.parse(data)
    for pieces in given.splits():
        server, client = _engines()
        tried, peer = (client, server) if given.has(_CLIENT) else (server, client)
        if given.has(_DAMAGED):
            _shake_hands(server, client)
            sent = b"".join([peer.encrypt(each) for each in _PLAIN])
            pieces = _damage(sent, given.stream)
        else:
            tried.start()
        _check(tried, pieces)


def _shake_hands(server: TlsEngine, client: TlsEngine) -> None:
    flight = client.start()
    while flight:
        server.receive(flight)
        client.receive(server.take_output())
        flight = client.take_output()


def _damage(sent: bytes, damage: bytes) -> list[bytes]:
    """What was sent, with bytes of it changed, inserted or left out as ``damage`` has it."""
    damaged = bytearray(sent)
    for i in range(0, min(len(damage), 32) - 3, 4):
        kind, high, low, byte = damage[i : i + 4]
        at = (high << 8 | low) % (len(damaged) + 1)
        match kind % 4:
            case 0:
                damaged[at : at + 1] = bytes((byte,))
            case 1:
                damaged[at:at] = bytes((byte,))
            case 2:
                del damaged[at : at + 1 + byte]
            case _:
                del damaged[at:]
    middle = len(damaged) // 3
    return [bytes(damaged[:middle]), bytes(damaged[middle:])]


def _check(tried: TlsEngine, pieces: list[bytes]) -> None:
    received = b""
    for piece in pieces:
        try:
            received += tried.receive(piece)
        except TlsError as error:
            received += error.received
            demand(error.close_code == 1015, "a fault of TLS is told as one", error)
            tried.take_output()
            break
    plain = b"".join(_PLAIN)
    demand(plain.startswith(received), "nothing arrives that was not sent", received)
