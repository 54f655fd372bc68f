"""The subjects that stand for identities, groups and servers."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256

# As it is where it can be: so that whoever looks at a broker sees whom a subject is about. ``~``
# is at the front of those that are not, and only there.
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Subjects:
    """Makes subjects that all begin with one word, so that several clusters may share a broker.

    Args:
        prefix: That word.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.everybody = f"{prefix}.all"
        self.identity = lru_cache(maxsize=65_536)(self._identity)
        self.group = lru_cache(maxsize=65_536)(self._group)

    def _identity(self, identity: str) -> str:
        """Where the connections of an identity are reached."""
        return f"{self._prefix}.c.{token(identity)}"

    def _group(self, group: str) -> str:
        """Where the members of a group are reached."""
        return f"{self._prefix}.g.{token(group)}"

    def server(self, server: bytes) -> str:
        """Where a server is reached."""
        return f"{self._prefix}.s.{server.hex()}"

    def beat(self, server: bytes) -> str:
        """Where a server tells that it is there."""
        return f"{self._prefix}.b.{server.hex()}"


def token(name: str) -> str:
    """A word that stands for a name of any characters; long or odd ones by their SHA-256."""
    if _PLAIN.fullmatch(name):
        return name
    return "~" + urlsafe_b64encode(sha256(name.encode()).digest()).rstrip(b"=").decode()
