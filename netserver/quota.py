"""How many from where, and how fast: connections per address, accepts a second."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv6Address
from threading import Lock

# Whoever is given an address under IPv6 is given a network of so many bits (RFC 6177).
NETWORK_BITS = 64


def origin(host: str) -> str:
    """Whose an IP address is: itself under IPv4, its /64 network under IPv6."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    if (mapped := address.ipv4_mapped) is not None:
        return str(mapped)
    bits = 128 - NETWORK_BITS
    return f"{IPv6Address(int(address) >> bits << bits)}/{NETWORK_BITS}"


class Quota:
    """Counts members by their origin. Thread-safe: one lock guards it.

    Args:
        most: The most members of one origin; None for no limit: nothing is counted then.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._lock = Lock()
        self._counts: dict[str, int] = {}
        self._members: dict[Hashable, str] = {}
        self._refused = 0

    def __len__(self) -> int:
        """How many origins there are now."""
        return len(self._counts)

    @property
    def refused(self) -> int:
        """How often `enter` has refused so far."""
        return self._refused

    @property
    def largest(self) -> int:
        """How many members the origin with the most has now."""
        with self._lock:
            return max(self._counts.values(), default=0)

    def enter(self, member: Hashable, host: str) -> bool:
        """One more of this host's; False when it has as many as it may."""
        if self._most is None:
            return True
        key = origin(host)
        with self._lock:
            count = self._counts.get(key, 0)
            if count >= self._most:
                self._refused += 1
                return False
            self._counts[key] = count + 1
            self._members[member] = key
            return True

    def leave(self, member: Hashable) -> None:
        """One less; nothing when it was none."""
        if self._most is None:
            return
        with self._lock:
            key = self._members.pop(member, None)
            if key is None:
                return
            if self._counts[key] == 1:
                del self._counts[key]
            else:
                self._counts[key] -= 1


class Bucket:
    """Lets so many through a second on average, and a burst after a pause. Not thread-safe.

    Args:
        rate: Things a second.
        burst: How many may go through at once, at most.
        now: The time, seconds.
    """

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled = now

    def wait(self, now: float) -> float:
        """How long until the next may go through, seconds; 0 when it may now."""
        passed = max(0.0, now - self._filled)
        self._tokens = min(float(self._burst), self._tokens + passed * self._rate)
        self._filled = now
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def take(self) -> None:
        """One went through."""
        self._tokens -= 1.0
