"""The URLs that choose a backplane, and their options."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import define, field, frozen

from netserver.backplane.errors import BackplaneUrlError

T = TypeVar("T")

_SECRET_OPTION = re.compile(r"(?<=[?&]token=)[^&]*")


@define
class BackplaneUrl:
    """A URL taken apart.

    Attributes:
        scheme: In small letters, without ``://``.
        rest: What stands between the scheme and the options: hosts, credentials, a path.
        shown: The whole URL, for messages and logs, with asterisks for what is secret.
        options: What stands behind the question mark.
    """

    scheme: str
    rest: str
    shown: str
    options: dict[str, str] = field(factory=dict)

    @classmethod
    def parse(cls, url: str) -> BackplaneUrl:
        """Take a URL apart.

        Raises:
            BackplaneUrlError: It has no scheme, or an option twice.
        """
        if not isinstance(url, str):
            raise TypeError(f"a backplane's URL is a str, not {url!r}")
        scheme, separator, rest = url.partition("://")
        shown = hide_password(url)
        if not separator or not scheme:
            raise BackplaneUrlError(shown, "has no scheme such as nats://")
        rest, _, query = rest.partition("?")
        options: dict[str, str] = {}
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        except ValueError:
            raise BackplaneUrlError(shown, "has options that are not name=value&…") from None
        for name, value in pairs:
            if name in options:
                raise BackplaneUrlError(shown, f"has {name} twice")
            options[name] = value
        return cls(scheme.lower(), rest, shown, options)

    def option(self, name: str, convert: Callable[[str], T], default: T) -> T:
        """The value of an option, and nothing of it left for `refuse_options`.

        Raises:
            BackplaneUrlError: ``convert`` raised ValueError or OSError, whose text is told.
        """
        if name not in self.options:
            return default
        text = self.options.pop(name)
        try:
            return convert(text)
        except (ValueError, OSError) as error:
            raise BackplaneUrlError(self.shown, f"has {name}={text}: {error}") from error

    def refuse_options(self) -> None:
        """Refuse the options that nobody asked for.

        Raises:
            BackplaneUrlError: There are some.
        """
        if self.options:
            names = ", ".join(self.options)
            raise BackplaneUrlError(self.shown, f"has an option that is not known: {names}")

    def servers(self, default_port: int) -> list[Address]:
        """The servers named, one or several with commas between them.

        Raises:
            BackplaneUrlError: One has no host, or a port that is none.
        """
        if "://" in self.rest:
            raise BackplaneUrlError(
                self.shown, "has more than one scheme; several servers are listed as host,host"
            )
        rest = self.rest.partition("/")[0]
        return [self._server(part, default_port) for part in rest.split(",")]

    def _server(self, text: str, default_port: int) -> Address:
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise BackplaneUrlError(self.shown, f"is none: {error}") from None
        if not host or not host.isprintable() or " " in host:
            raise BackplaneUrlError(self.shown, "names no host")
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return Address(host, default_port if port is None else port, user, password)


@frozen
class Address:
    """Where a broker or a peer is, and what to tell it.

    Args:
        host: A name or an address, IPv6 without brackets.
        port: The port.
        user, password: Credentials; None without.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def hide_password(url: str) -> str:
    """A URL with asterisks for the passwords and the token in it."""
    scheme, separator, rest = _SECRET_OPTION.sub("***", url).partition("://")
    servers, slash, path = rest.partition("/")
    shown = ",".join(_hide(each) for each in servers.split(","))
    return f"{scheme}{separator}{shown}{slash}{path}"


def _hide(server: str) -> str:
    credentials, at, host = server.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{user}{':***' if colon else ''}{at}{host}"
