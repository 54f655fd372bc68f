"""Choosing which inputs to keep: the smallest ones that reach everything that all of them reach."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from types import FrameType
from typing import Any

from fuzz.targets import TARGETS

_PACKAGES = ("/netwire/", "/wsproto/", "/h11/")


def reached(target: str, data: bytes) -> set[object]:
    """What an input reaches: the steps from line to line, each with how often, roughly."""
    steps: Counter[tuple[str, int, int]] = Counter()
    previous: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        filename = frame.f_code.co_filename
        if not any(package in filename for package in _PACKAGES):
            return None
        steps[filename, previous.get(frame, 0), frame.f_lineno] += 1
        previous[frame] = frame.f_lineno
        if event == "return":
            del previous[frame]
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        TARGETS[target](data)
    finally:
        sys.settrace(before)
    # Powers of two: a loop that goes round once more is no news, one that goes round twice is.
    return {(step, count.bit_length()) for step, count in steps.items()}


def minimised(target: str, inputs: Iterable[bytes], given: Iterable[bytes] = ()) -> list[bytes]:
    """The inputs worth keeping, beside those that are there anyway.

    Args:
        target: Where they are tried.
        inputs: Those to choose from; each passes.
        given: Inputs that need not be kept, because they are tried in any case.
    """
    known: set[object] = set()
    for data in given:
        known |= reached(target, data)
    kept: list[tuple[bytes, set[object]]] = []
    for data in sorted(set(inputs), key=len):
        news = reached(target, data)
        if not news <= known:
            known |= news
            kept.append((data, news))
    # What came early may have been overtaken by all that came later.
    times = Counter(each for _, news in kept for each in news)
    needed = []
    for data, news in kept:
        if all(times[each] > 1 for each in news):
            times.subtract(news)
        else:
            needed.append(data)
    return needed
