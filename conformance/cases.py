"""Which of the suite's cases to run, and how many there must be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from attrs import frozen

from conformance.errors import NoSuchCase


@frozen(kw_only=True)
class Selection:
    """Cases to run.

    Args:
        name: What reports call it.
        patterns: As for a shell; a group's number (``7`` or ``7.1``) stands for all in it.
        count: How many it must be, known from the suite's version and not from what it says; None
            where nobody knows beforehand.
    """

    name: str
    patterns: tuple[str, ...]
    count: int | None = None

    def choose(self, known: Iterable[str]) -> Sequence[str]:
        """Those of the suite's cases that are meant, in the suite's order.

        Raises:
            NoSuchCase: A pattern fits none.
        """
        known = tuple(known)
        for pattern in self.patterns:
            if not any(_fits(case, pattern) for case in known):
                raise NoSuchCase(f"no case of the suite fits {pattern!r}; they are like 7.1.5")
        chosen = [case for case in known if any(_fits(case, each) for each in self.patterns)]
        return sorted(chosen, key=lambda case: tuple(map(int, case.split("."))))


ALL = Selection(name="all", patterns=("*",), count=517)

# Without the cases of 12 and 13 (compression) that send a thousand messages of 4 KiB and more and
# take ten of eleven minutes; two of those that are cut in frames are left in each.
FAST = Selection(
    name="fast",
    patterns=(
        *("1", "2", "3", "4", "5", "6", "7", "9", "10"),  # there is no 8
        *("12.*.[1234]", "12.1.11", "12.1.12"),
        *("13.*.[1234]", "13.1.11", "13.1.12"),
    ),
    count=353,
)


def _fits(case: str, pattern: str) -> bool:
    return fnmatchcase(case, pattern) or case.startswith(f"{pattern}.")
