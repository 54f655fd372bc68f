"""Checks of options, for attrs: what is wrong is said in words, with the name and the value."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from attrs import Attribute

Check: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]


def positive(_owner: object, attribute: Attribute[Any], value: object) -> None:
    """A positive number, which may be infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} is a number, not {value!r}")
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0, not {value!r}")


def seconds(owner: object, attribute: Attribute[Any], value: object) -> None:
    """A positive, finite number."""
    positive(owner, attribute, value)
    if value == math.inf:
        raise ValueError(f"{attribute.name} must be finite")


def whole(_owner: object, attribute: Attribute[Any], value: object) -> None:
    """A positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute.name} is a whole number, not {value!r}")
    if value <= 0:
        raise ValueError(f"{attribute.name} must be more than 0, not {value!r}")


def of_kind(kind: type) -> Check:
    """An object of that class."""

    def check(_owner: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"{attribute.name} is a {kind.__name__}, not {value!r}")

    return check


def one_of(choices: Collection[object]) -> Check:
    """One of these."""

    def check(_owner: object, attribute: Attribute[Any], value: object) -> None:
        if value not in choices:
            names = ", ".join(map(repr, choices))
            raise ValueError(f"{attribute.name} is one of {names}, not {value!r}")

    return check
