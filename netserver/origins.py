"""Which web pages may connect: the Origin of a WebSocket handshake (RFC 6455, section 10.2).

A page of any site may have its visitor's browser open a WebSocket to any server, and the browser
sends that server's cookies along: without a check, a foreign page speaks with the visitor's rights.
Only the Origin, which no page can forge, tells the pages apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from netwire import Request, UrlError

# As browsers write it (RFC 6454, section 6.2): no path, no user, and no default port.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = ("http://", ":80"), ("https://", ":443")

NULL = "null"  # sandboxed frames, files, and pages behind some redirects: anybody's, in effect


def check_origins(origins: Iterable[str] | None) -> frozenset[str] | None:
    """The origins of ``Server.listen(allowed_origins=…)``, in the letters of a browser.

    Raises:
        TypeError: It is no collection of strings.
        UrlError: One is no origin, so that it could never be met.
    """
    if origins is None:
        return None
    if isinstance(origins, str) or not isinstance(origins, Iterable):
        raise TypeError(f"allowed_origins is a list of origins, not {origins!r}")
    return frozenset(_checked(origin) for origin in origins)


def is_allowed(request: Request, origins: frozenset[str]) -> bool:
    """Whether a handshake comes from one of them, or from no web page at all."""
    sent = request.headers.get_all("Origin")
    return not sent or (len(sent) == 1 and sent[0].lower() in origins)


def _checked(origin: object) -> str:
    if not isinstance(origin, str):
        raise TypeError(f"an origin is a string such as 'https://example.org', not {origin!r}")
    lower = origin.lower()
    if lower == NULL:
        return NULL
    if not _ORIGIN.fullmatch(lower):
        raise UrlError(origin, "is no origin, which is scheme://host or scheme://host:port")
    for scheme, port in _DEFAULT_PORTS:
        if lower.startswith(scheme) and lower.endswith(port):
            raise UrlError(origin, f"has the default port, which browsers leave out: drop {port}")
    return lower
