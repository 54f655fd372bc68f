"""What is kept of a group, by its name."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any

from attrs import Attribute, field, frozen

from netserver.cluster.history import Entry, History
from netwire import Message


def _perhaps_history(_owner: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, History | None):
        raise TypeError(f"{attribute.name} is a History or None, not {value!r}")


@frozen(kw_only=True)
class GroupRules:
    """What is kept of a group beside who is in it here. The same on every server.

    Args:
        presence: Whether `Server.presence` knows its members on all servers, and
            `Server.on_presence` is told of each who comes and goes.
        history: How much of what is said is kept for those who come back; None for nothing.
        stamp: Makes what members are sent of an entry of the history, so that they learn its
            position; called once for all members of a server, on the cluster's thread, and must be
            quick. None sends the message as it is.

    Raises:
        ValueError: There is a stamp and no history.
    """

    presence: bool = False
    history: History | None = field(default=None, validator=_perhaps_history)
    stamp: Callable[[Entry], Message] | None = None

    def __attrs_post_init__(self) -> None:
        if self.stamp is not None and self.history is None:
            raise ValueError("stamp is for what is in the history, and there is none")


NO_RULES = GroupRules()


def inbox_of(identity: str) -> str:
    """The group through which an identity is sent to, where the rules keep a history of it."""
    return f"@{identity}"


class RuleBook:
    """The rules of the groups, by patterns of their names. Thread-safe: one lock guards it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rules: list[tuple[str, GroupRules]] = []
        self._known: dict[str, GroupRules] = {}
        self._sealed = False

    def __bool__(self) -> bool:
        return bool(self._rules)

    @property
    def histories(self) -> list[History]:
        """What is kept of those groups that have a history."""
        with self._lock:
            return [rules.history for _, rules in self._rules if rules.history is not None]

    def add(self, pattern: str, rules: GroupRules) -> None:
        """Rules for the groups that match a pattern as in `fnmatch`; the first that fits counts.

        Raises:
            TypeError: These are no rules.
            ValueError: The pattern is none, or has rules already.
            RuntimeError: It is too late: see `seal`.
        """
        if not isinstance(pattern, str) or not pattern:
            raise ValueError(f"a pattern is a str that is not empty, not {pattern!r}")
        if not isinstance(rules, GroupRules):
            raise TypeError(f"rules are GroupRules, not {rules!r}")
        with self._lock:
            if self._sealed:
                raise RuntimeError("rules are set before the server is started")
            if any(pattern == known for known, _ in self._rules):
                raise ValueError(f"{pattern!r} has rules already")
            self._rules.append((pattern, rules))
            self._known.clear()

    def seal(self) -> None:
        """Let the rules stay as they are from now on: somebody goes by them."""
        with self._lock:
            self._sealed = True

    def matter(self, group: str) -> bool:
        """Whether anything is kept of a group beside who is in it here."""
        rules = self.of(group)
        return rules.presence or rules.history is not None

    def of(self, group: str) -> GroupRules:
        """The rules of a group."""
        known = self._known.get(group)
        if known is not None:
            return known
        if not self._rules:
            return NO_RULES
        with self._lock:
            found = (rules for pattern, rules in self._rules if fnmatchcase(group, pattern))
            chosen = next(found, NO_RULES)
            if len(self._known) > 65_536:
                self._known.clear()
            self._known[group] = chosen
            return chosen
