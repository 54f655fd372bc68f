"""What an ``amqp://`` URL says."""

from __future__ import annotations

import re
import ssl
from urllib.parse import unquote

from attrs import frozen

from netserver.backplane.amqp.link import Login
from netserver.backplane.errors import BackplaneUrlError
from netserver.backplane.tls import read_context
from netserver.backplane.url import Address, BackplaneUrl

DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671}

_EXCHANGE = re.compile(r"[A-Za-z0-9_.-]{1,127}")


@frozen(kw_only=True)
class Options:
    """How to reach RabbitMQ, and what to use there.

    Args:
        servers: Any of them will do.
        login: What to tell them.
        exchange: The name of the exchange that all servers share.
        context: How to encrypt; None for not at all.
    """

    servers: tuple[Address, ...]
    login: Login
    exchange: str
    context: ssl.SSLContext | None

    @classmethod
    def read(cls, url: BackplaneUrl) -> Options:
        """Take a URL's parts.

        Raises:
            BackplaneUrlError: Something in it is not understood.
        """
        servers = url.servers(DEFAULT_PORTS[url.scheme])
        first, *others = servers
        if any(each.user is not None for each in others):
            raise BackplaneUrlError(url.shown, "has credentials behind the first server's")
        options = cls(
            servers=tuple(servers),
            login=Login(
                user="guest" if first.user is None else first.user,
                password="guest" if first.password is None else first.password,
                vhost=_vhost(url),
                heartbeat=url.option("heartbeat", _heartbeat, 10),
            ),
            exchange=url.option("exchange", _exchange, "foreman"),
            context=read_context(url, "amqps"),
        )
        url.refuse_options()
        return options


def _heartbeat(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 60):
        raise ValueError("it is 1 to 60 whole seconds")
    return int(text)


def _exchange(text: str) -> str:
    if not _EXCHANGE.fullmatch(text) or text.startswith("amq."):
        raise ValueError("it is 1 to 127 of A-Z, a-z, 0-9, _, . and -, and not the broker's amq.…")
    return text


def _vhost(url: BackplaneUrl) -> str:
    vhost = unquote(url.rest.partition("/")[2]) or "/"
    if len(vhost.encode()) > 127:
        raise BackplaneUrlError(url.shown, "has a virtual host of more than 127 bytes")
    return vhost
