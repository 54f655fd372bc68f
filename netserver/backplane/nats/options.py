"""What a ``nats://`` URL says: servers, TLS, credentials, and where history is kept."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nkeys
from attrs import define
from nats.aio.client import RawCredentials

from netserver.backplane.errors import BackplaneUrlError
from netserver.backplane.tls import read_context
from netserver.backplane.url import Address, BackplaneUrl

DEFAULT_PORT = 4222

# What nats-py looks for in a credentials file; without the first it would look for ever.
_CREDENTIALS = re.compile(
    r"BEGIN NATS USER JWT-*\s+\S+\s+-+END NATS USER JWT.*BEGIN USER NKEY SEED-*\s+S\S+\s", re.DOTALL
)
_STREAM = re.compile(r"[A-Za-z0-9_-]{1,32}")

_SIZE = re.compile(r"(\d{1,15})(MiB|GiB)?")
_UNITS = {None: 1, "MiB": 1 << 20, "GiB": 1 << 30}
DEFAULT_MAX_BYTES = 1 << 30
LEAST_MAX_BYTES = 2 << 20  # the largest message that NATS carries by default, and some before it


@define(eq=False)
class Options:
    """A URL understood.

    Attributes:
        shown: The URL without its secrets.
        servers: Those named, each with the user and password to tell it.
        context: For TLS; None where the broker need not offer it.
        secret: Makes the token or the keys to tell a server, read anew for each connection, for
            credentials may be short-lived; raises ValueError or OSError.
        stream: The name of the stream for history; None where history is off.
        replicas: On how many servers of a cluster each message of history is kept.
        max_bytes: How much of a broker's disk the stream may take.
    """

    shown: str
    servers: list[Address]
    context: ssl.SSLContext | None
    secret: Callable[[], dict[str, Any]]
    stream: str | None
    replicas: int
    max_bytes: int

    @classmethod
    def read(cls, url: BackplaneUrl) -> Options:
        """Understand a URL.

        Raises:
            BackplaneUrlError: It has options that are none, or files that cannot be read.
        """
        servers = url.servers(DEFAULT_PORT)
        if url.rest.partition("/")[2]:
            raise BackplaneUrlError(
                url.shown,
                "has a path, of which NATS knows nothing; clusters are told apart by "
                "ClusterConfig.prefix",
            )
        first = servers[0]
        for server in servers:
            if (server.user is None) != (server.password is None):
                raise BackplaneUrlError(
                    url.shown, "has a user without a password; a token is given as ?token="
                )
        servers = [
            each if each.user is not None else Address(each.host, each.port, *_login(first))
            for each in servers
        ]
        kept = url.option("history", _on_or_off, True)
        stream = url.option("stream", _stream, "FOREMAN")
        options = cls(
            shown=url.shown,
            servers=servers,
            context=read_context(url, "tls+nats"),
            secret=_secret(url, has_login=first.user is not None),
            stream=stream if kept else None,
            replicas=url.option("replicas", _replicas, 1),
            max_bytes=url.option("max_bytes", _max_bytes, DEFAULT_MAX_BYTES),
        )
        url.refuse_options()
        return options


def _login(server: Address) -> tuple[str | None, str | None]:
    return server.user, server.password


def _secret(url: BackplaneUrl, *, has_login: bool) -> Callable[[], dict[str, Any]]:
    ways: list[Callable[[], dict[str, Any]]] = []
    if token := url.option("token", str, ""):
        ways.append(lambda: {"token": token})
    if credentials := url.option("creds", str, ""):
        ways.append(lambda: {"user_credentials": _read_credentials(Path(credentials))})
    if seed := url.option("nkey", str, ""):
        ways.append(lambda: {"nkeys_seed_str": _read_seed(Path(seed))})
    if len(ways) + has_login > 1:
        raise BackplaneUrlError(url.shown, "has more than one of password, token, creds and nkey")
    way = ways[0] if ways else dict
    try:
        way()
    except (ValueError, OSError) as error:
        raise BackplaneUrlError(url.shown, f"has a file that cannot be used: {error}") from error
    return way


def _read_credentials(path: Path) -> RawCredentials:
    text = path.read_text()
    if not _CREDENTIALS.search(text):
        raise ValueError(f"{path} has no user JWT and seed in it")
    return RawCredentials(text)


def _read_seed(path: Path) -> str:
    seed = path.read_text().strip()
    try:
        nkeys.from_seed(bytearray(seed.encode())).wipe()
    except Exception as error:  # it has no base of its own, and lets binascii's through
        raise ValueError(f"{path} has no nkey seed in it") from error
    return seed


def _on_or_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("it is on or off")
    return text == "on"


def _stream(text: str) -> str:
    if not _STREAM.fullmatch(text):
        raise ValueError("a stream's name has up to 32 of A-Z, a-z, 0-9, _ and -")
    return text


def _replicas(text: str) -> int:
    if text not in ("1", "3", "5"):
        raise ValueError("there are 1, 3 or 5")
    return int(text)


def _max_bytes(text: str) -> int:
    size = _SIZE.fullmatch(text)
    if size is None or (limit := int(size[1]) * _UNITS[size[2]]) < LEAST_MAX_BYTES:
        raise ValueError("it is a number of bytes, such as 512MiB or 4GiB, and at least 2MiB")
    return limit
