"""What waits for a slow reader: order, bounds and counts, without a socket or a clock."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netserver import ServerConfig, SlowReader
from netserver.backlog import MOST_CONTROL, OVERHEAD, Backlog
from netserver.slow_reader import POLICIES, Policy

LIMIT = 4 * OVERHEAD
MAX_AGE = 5.0


class Ledger:
    """What a backlog said it lost."""

    def __init__(self) -> None:
        self.lost: list[tuple[int, bool]] = []

    def lose(self, size: int, superseded: bool) -> None:
        self.lost.append((size, superseded))


def as_it_is(message: bytes) -> bytes:
    return message


def made(policy: Policy, max_age: float = MAX_AGE) -> tuple[Backlog[bytes], Ledger]:
    ledger = Ledger()
    return Backlog(policy, LIMIT, max_age, ledger.lose), ledger


def said(data: bytes) -> list[bytes]:
    """The messages that were taken: each ends with a full stop."""
    assert not data or data.endswith(b".")
    return data.split(b".")[:-1]


Step = tuple[str, int, int]
steps: Any = st.lists(
    st.tuples(st.just("offer"), st.integers(0, 2 * LIMIT), st.integers(0, 3))
    | st.tuples(st.just("take"), st.integers(1, 2 * LIMIT), st.just(0))
    | st.tuples(st.just("wait"), st.integers(0, 6), st.just(0))
)


@given(st.sampled_from(POLICIES), steps)
def test_bounded_in_order_and_counted(policy: Policy, steps: list[Step]) -> None:
    backlog, ledger = made(policy)
    now = 0.0
    given_in: list[bytes] = []
    refused: list[bytes] = []
    out: list[bytes] = []
    keys: dict[bytes, int] = {}
    came: dict[bytes, float] = {}
    for what, number, key in steps:
        if what == "offer":
            name = b"%d" % len(given_in)
            message = (name + b"x" * number)[: max(number, len(name))] + b"."
            given_in.append(message[:-1])
            keys[message[:-1]], came[message[:-1]] = key, now
            if not backlog.offer(message, len(message), now, key):
                refused.append(message[:-1])
        elif what == "take":
            taken = said(backlog.take(number, now, as_it_is))
            out += taken
            if policy in ("drop_old", "latest"):
                assert all(now - came[message] <= MAX_AGE for message in taken)
            assert sum(map(len, taken[:-1])) + len(taken[:-1]) < number
        else:
            now += number
        assert 0 <= backlog.size <= LIMIT
        assert bool(backlog) == bool(backlog.size)
    out += said(backlog.take(10**9, now, as_it_is))
    assert not backlog
    # Whole messages only, each once, in order; with ``latest`` those of one key are.
    assert len(set(out)) == len(out)
    order = {message: place for place, message in enumerate(given_in)}
    for group in range(4) if policy == "latest" else [-1]:
        places = [order[m] for m in out if group < 0 or keys[m] == group]
        assert places == sorted(places)
    assert not set(out) & set(refused)
    # What was neither written nor, by closing the connection, refused is counted, by its bytes.
    missing = [m for m in given_in if m not in set(out)]
    if policy == "close":
        assert not ledger.lost
        assert missing == refused
    else:
        assert sorted(size for size, _ in ledger.lost) == sorted(len(m) + 1 for m in missing)
    if policy != "latest":
        assert not any(superseded for _, superseded in ledger.lost)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_edge(policy: Policy) -> None:
    """As much as the limit waits, and not one byte more."""
    backlog, ledger = made(policy)
    half = bytes(LIMIT // 2 - OVERHEAD)
    assert backlog.offer(half, len(half), 0.0, 1)
    assert backlog.offer(half, len(half), 0.0, 2)
    assert backlog.size == LIMIT
    assert not ledger.lost
    assert backlog.offer(b"", 0, 0.0, 3) is (policy in ("drop_old", "latest"))
    assert len(ledger.lost) == (policy != "close")


@pytest.mark.parametrize("policy", POLICIES)
def test_one_that_never_fits(policy: Policy) -> None:
    backlog, ledger = made(policy)
    assert backlog.offer(b"first", 5, 0.0, 1)
    assert not backlog.offer(bytes(LIMIT), LIMIT, 0.0, 2)
    assert backlog.take(10, 0.0, as_it_is) == b"first"
    assert ledger.lost == ([] if policy == "close" else [(LIMIT, False)])


def test_empty_messages_are_not_free() -> None:
    backlog, _ = made("close")
    assert [backlog.offer(b"", 0, 0.0) for _ in range(5)] == [True] * 4 + [False]


class TestAge:
    @pytest.mark.parametrize("policy", ["wait", "drop_new", "close"])
    def test_nothing_new_while_the_oldest_is_too_old(self, policy: Policy) -> None:
        backlog, _ = made(policy)
        assert backlog.offer(b"a", 1, 0.0)
        assert backlog.offer(b"b", 1, MAX_AGE)
        assert not backlog.offer(b"c", 1, MAX_AGE + 0.1)
        assert backlog.take(1, MAX_AGE + 1, as_it_is) == b"a"  # what waits stays good
        assert backlog.offer(b"d", 1, MAX_AGE + 1)

    def test_drop_old_drops_what_is_too_old_at_once(self) -> None:
        backlog, ledger = made("drop_old")
        assert backlog.offer(b"a", 1, 0.0)
        assert backlog.offer(b"b", 1, MAX_AGE + 1)
        assert ledger.lost == [(1, False)]
        assert backlog.take(9, 2 * MAX_AGE, as_it_is) == b"b"

    @pytest.mark.parametrize("policy", ["drop_old", "latest"])
    def test_what_is_too_old_is_not_written(self, policy: Policy) -> None:
        backlog, ledger = made(policy)
        backlog.offer(b"a", 1, 0.0, "a")
        backlog.offer(b"b", 1, 1.0, "b")
        assert backlog.take(9, MAX_AGE + 0.5, as_it_is) == b"b"
        assert ledger.lost == [(1, False)]

    def test_when_a_connection_is_to_be_closed(self) -> None:
        backlog, _ = made("close")
        assert backlog.falls_due == math.inf
        backlog.offer(b"a", 1, 2.0)
        backlog.offer(b"b", 1, 3.0)
        assert backlog.falls_due == 2.0 + MAX_AGE
        backlog.take(1, 3.0, as_it_is)
        assert backlog.falls_due == 3.0 + MAX_AGE
        other, _ = made("latest")
        other.offer(b"a", 1, 2.0)
        assert (other.oldest, other.falls_due) == (2.0, math.inf)

    @pytest.mark.parametrize(
        ("policy", "latency", "expected"),
        [
            ("close", 0.01, 5.0),
            ("close", 1.0, 100.0),
            ("drop_old", 0.001, 1.0),
            ("drop_new", 0.05, 5.0),
            ("wait", 2.0, 200.0),
            ("latest", 0.01, math.inf),
        ],
    )
    def test_as_derived(self, policy: Policy, latency: float, expected: float) -> None:
        assert SlowReader(policy=policy).age_limit(latency) == pytest.approx(expected)
        assert SlowReader(policy=policy, max_age=0.5).age_limit(latency) == 0.5


def test_latest_keeps_the_place_of_what_it_replaces() -> None:
    backlog, ledger = made("latest", math.inf)
    for key, message in [("a", b"a1"), ("b", b"b1"), ("a", b"a2"), ("c", b"c1"), ("a", b"a3")]:
        assert backlog.offer(message, 2, 0.0, key)
    assert ledger.lost == [(2, True), (2, True)]
    assert backlog.take(99, 1000.0, as_it_is) == b"a3b1c1"


def test_a_newer_one_that_is_larger_pushes_out_those_in_front() -> None:
    backlog, ledger = made("latest")
    for key in "abc":
        assert backlog.offer(b"", 0, 0.0, key)
    large = bytes(LIMIT - OVERHEAD)
    assert backlog.offer(large, len(large), 0.0, "b")
    assert backlog.take(10**6, 0.0, as_it_is) == large
    assert ledger.lost == [(0, True), (0, False), (0, False)]


class TestControl:
    def test_goes_ahead_and_is_bounded(self) -> None:
        backlog, ledger = made("drop_old")
        backlog.append(b"handshake")
        backlog.offer(b"data", 4, 0.0)
        for number in range(1000):
            backlog.control(b"<%d>" % number, True)
        backlog.control(b"(ping)", False)
        newest = b"".join(b"<%d>" % n for n in range(1000 - MOST_CONTROL, 1000))
        assert backlog.take(1, 0.0, as_it_is) == newest + b"(ping)"
        assert backlog.take(1, 0.0, as_it_is) == b"handshake"
        assert backlog.take(1, 0.0, as_it_is) == b"data"
        assert not ledger.lost
        assert not backlog

    def test_what_is_forgotten_and_what_is_not(self) -> None:
        for policy in POLICIES:
            backlog, ledger = made(policy)
            backlog.append(b"firm")
            backlog.offer(b"data", 4, 0.0)
            backlog.control(b"pong", True)
            backlog.forget()
            backlog.append(b"close")
            assert (backlog.size, ledger.lost) == (0, [])
            assert backlog.take(99, 0.0, as_it_is) == b"pongclose"


def test_once_settled_nothing_gives_way() -> None:
    """What was encoded in order is written in order, however old it becomes."""
    backlog, ledger = made("drop_old")
    count = iter(range(100))

    def encode(message: bytes) -> bytes:
        return b"%d:%b " % (next(count), message)

    backlog.offer(b"a", 1, 0.0)
    backlog.offer(b"b", 1, 0.0)
    assert backlog.take(1, 0.0, encode) == b"0:a "
    backlog.settle(encode)
    backlog.append(b"close")
    assert backlog.take(1000, 10 * MAX_AGE, encode) == b"1:b close"
    assert not ledger.lost


def test_settings_that_make_no_sense() -> None:
    for wrong in (
        {"policy": "perhaps"},
        {"limit": 0},
        {"limit": 1.5},
        {"max_age": 0},
        {"close_code": 1000},
    ):
        with pytest.raises((ValueError, TypeError)):
            SlowReader(**wrong)
    with pytest.raises(TypeError):
        ServerConfig(slow_reader="latest")  # type: ignore[arg-type]
    rules = SlowReader(policy="latest")
    assert rules.within(7).limit == 7
    assert SlowReader(limit=3).within(7).limit == 3
