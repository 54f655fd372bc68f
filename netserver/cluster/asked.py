"""What was asked of other servers and not answered yet: asked again, for either may be lost."""

from __future__ import annotations

# A share is not asked for more often, seconds: the answer may be under way.
AGAIN = 0.5


class Asked:
    """The shares of groups that other servers were asked for. Pure."""

    def __init__(self) -> None:
        self._when: dict[str, dict[str, float]] = {}  # by group and server

    def note(self, group: str, server: str, now: float) -> bool:
        """A share must be asked for; whether now, or it has been and is `overdue` in its time."""
        servers = self._when.setdefault(group, {})
        if server in servers:
            return False
        servers[server] = now
        return True

    def answered(self, group: str, server: str) -> None:
        """The share was told, or its server is gone and will not tell it."""
        servers = self._when.get(group, {})
        servers.pop(server, None)
        if not servers:
            self._when.pop(group, None)

    def part(self, group: str) -> None:
        """Nothing of a group has to be known any more."""
        self._when.pop(group, None)

    def overdue(self, now: float) -> list[tuple[str, str]]:
        """The groups and servers that are to be asked again now."""
        late = []
        for group, servers in self._when.items():
            for server, when in servers.items():
                if now - when >= AGAIN:
                    servers[server] = now
                    late.append((group, server))
        return late
