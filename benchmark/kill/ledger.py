"""What one member of a group has received, against what was said in it. Pure.

Every sender numbers what it says from 1, without a gap; so each message that comes tells whether
one before it is missing, and whether it came before.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field


@define(eq=False)
class Minutes:
    """What stands at each offset of a group, as its members tell."""

    _said: dict[int, tuple[str, int]] = field(factory=dict, init=False)

    def agree(self, offset: int, sender: str, number: int) -> bool:
        """Whether everybody so far was told the same of an offset."""
        return self._said.setdefault(offset, (sender, number)) == (sender, number)


@define(eq=False)
class Ledger:
    """One member's.

    Args:
        minutes: Of its group.

    Attributes:
        received: Messages, each counted as often as it came.
        doubled: Those that had come before.
        reordered: Those that came after a later one of the same sender, or of a higher offset, or
            that others were told another place of.
    """

    minutes: Minutes
    received: int = 0
    doubled: int = 0
    reordered: int = 0
    _offset: int = 0
    _highest: dict[str, int] = field(factory=dict, init=False)
    _missing: dict[str, set[int]] = field(factory=dict, init=False)

    def note(self, sender: str, number: int, offset: int) -> None:
        """A message came."""
        self.received += 1
        highest = self._highest.get(sender, 0)
        missing = self._missing.get(sender)
        if number <= highest and not (missing and number in missing):
            self.doubled += 1
            return
        in_order = offset > self._offset and self.minutes.agree(offset, sender, number)
        self._offset = max(self._offset, offset)
        if number > highest:
            self._highest[sender] = number
            if number > highest + 1:
                self._missing.setdefault(sender, set()).update(range(highest + 1, number))
        elif missing is not None:
            missing.discard(number)
            in_order = False
        self.reordered += not in_order

    def count_missing(self, said: Mapping[str, int]) -> int:
        """How many messages it has not received.

        Args:
            said: By sender, the number of its last message.
        """
        gaps = sum(map(len, self._missing.values()))
        return gaps + sum(max(0, last - self._highest.get(who, 0)) for who, last in said.items())
