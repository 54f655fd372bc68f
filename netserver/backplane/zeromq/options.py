"""What a ``zmq://`` URL says."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

from netserver.backplane.errors import BackplaneUrlError
from netserver.backplane.url import Address, BackplaneUrl
from netserver.backplane.zeromq.curve import Keys, load_keys
from netserver.backplane.zeromq.wire import HOST


@frozen(kw_only=True)
class Options:
    """What a URL asks for.

    Args:
        shown: The URL, for messages.
        bind: Where this server listens; port 0 for any that is free.
        advertise: Where others reach it; None for where it listens, port 0 for the same port.
        listed: Where peers are, tried for ever.
        name: A DNS name and port under which peers are, looked up again and again.
        keys: For CURVE; None for plain text.
    """

    shown: str
    bind: Address
    advertise: Address | None
    listed: tuple[Address, ...]
    name: Address | None
    keys: Keys | None

    @classmethod
    def read(cls, url: BackplaneUrl) -> Options:
        """Understand a URL.

        Raises:
            BackplaneUrlError: It has an option that is not known or wrong; or others could listen
                in, and it does not say that they may.
        """
        bind = _bound(url)
        advertise = url.option("advertise", _address_or_host, None)
        # A peer listed is as good as a seed: all tell each other of all.
        nobody: tuple[Address, ...] = ()
        listed = url.option("peers", _addresses, nobody) + url.option("seeds", _addresses, nobody)
        name = url.option("dns", _address, None)
        own = url.option("key", Path, None)
        trusted = url.option("trusted", Path, None)
        insecure = url.option("insecure", _yes, False)
        url.refuse_options()
        if (own is None) != (trusted is None):
            raise BackplaneUrlError(url.shown, "needs both key= and trusted=, or neither")
        keys: Keys | None = None
        if own is not None and trusted is not None:
            try:
                keys = load_keys(own, trusted)
            except (ValueError, OSError) as error:
                raise BackplaneUrlError(
                    url.shown, f"has keys that cannot be used: {error}"
                ) from error
        elif not insecure and not _is_loopback(bind.host):
            raise BackplaneUrlError(
                url.shown,
                "would let anybody on the network read and write: give key= and trusted=, "
                "or insecure=yes if nobody else is there",
            )
        if advertise is None and _is_wildcard(bind.host):
            raise BackplaneUrlError(
                url.shown, "listens on all addresses: say with advertise= where others reach it"
            )
        return cls(
            shown=url.shown, bind=bind, advertise=advertise, listed=listed, name=name, keys=keys
        )

    def advertised(self, port: int) -> Address:
        """Where others reach this server, once it listens on a port."""
        address = self.advertise or self.bind
        return Address(address.host, address.port or port)


def _bound(url: BackplaneUrl) -> Address:
    host, slash, _ = url.rest.partition("/")
    try:
        if slash:
            raise ValueError("a path means nothing here")
        return _address(host.replace("*", "0.0.0.0", 1), lowest=0)
    except ValueError as error:
        raise BackplaneUrlError(url.shown, f"is no address to listen on: {error}") from None


def _address(text: str, *, lowest: int = 1) -> Address:
    address = _address_or_host(text)
    if urlsplit(f"//{text}").port is None or address.port < lowest:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return address


def _address_or_host(text: str) -> Address:
    parts = urlsplit(f"//{text}")
    host, port = parts.hostname, parts.port  # the port raises ValueError
    if not host or not HOST.fullmatch(host) or "@" in text or parts.netloc != text:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(host, port or 0)


def _addresses(text: str) -> tuple[Address, ...]:
    return tuple(_address(each) for each in text.split(","))


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("is neither yes nor no")
    return text == "yes"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
