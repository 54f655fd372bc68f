"""A link is kept to one of several brokers: what is told, what is tried again, what is given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from attrs import define, field

from netserver.backplane import BrokerRefuses, LinkDown, LinkState
from netserver.backplane.keeper import Keeper
from netwire import Backoff

PATIENCE = 20.0
AT_ONCE = Backoff(first=0, cap=0)


@define(eq=False)
class Brokers:
    """Two of them, what each attempt comes to, and what is told meanwhile."""

    outcomes: list[Exception | Callable[[], None] | None]
    tried: list[str] = field(factory=list)
    told: list[tuple[LinkState, str]] = field(factory=list)
    used_up: asyncio.Event = field(factory=asyncio.Event)
    is_up: asyncio.Event = field(factory=asyncio.Event)

    def keeper(self, patience: float = PATIENCE) -> Keeper[str]:
        return Keeper(lambda: ["one", "two"], self.join, AT_ONCE, patience)

    async def join(self, server: str) -> None:
        self.tried.append(server)
        if not self.outcomes:
            self.used_up.set()
            await asyncio.Event().wait()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            outcome()

    def tell(self, state: LinkState, why: str) -> None:
        self.told.append((state, why))
        (self.is_up.set if state is LinkState.UP else self.is_up.clear)()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited(main: Awaitable[None]) -> None:
        async with asyncio.timeout(PATIENCE):
            await main

    asyncio.run(limited(main()))


def test_the_next_is_tried_and_all_again_after_a_loss() -> None:
    async def main() -> None:
        brokers = Brokers([LinkDown("gone"), None])
        keeper = brokers.keeper()
        with pytest.raises(LinkDown, match="not started"):
            keeper.require()
        await keeper.start(brokers.tell)
        keeper.require()
        keeper.lost("cut")
        with pytest.raises(LinkDown, match="cut"):
            keeper.require()
        await brokers.used_up.wait()
        assert brokers.tried == ["one", "two", "one"]
        assert brokers.told == [(LinkState.UP, "connected to two"), (LinkState.DOWN, "cut")]
        await keeper.close()
        with pytest.raises(LinkDown, match="closed"):
            keeper.require()

    run(main)


def test_who_is_refused_at_first_is_told_and_later_tries_on() -> None:
    async def main() -> None:
        brokers = Brokers([BrokerRefuses("wrong password"), None])
        keeper = brokers.keeper()
        with pytest.raises(BrokerRefuses, match="wrong password"):
            await keeper.start(brokers.tell)
        await keeper.close()
        assert brokers.tried == ["one"]
        assert brokers.told == []

        brokers = Brokers([None, BrokerRefuses("it was changed"), None])
        keeper = brokers.keeper()
        await keeper.start(brokers.tell)
        keeper.lost("cut")
        await brokers.is_up.wait()
        assert brokers.told[2] == (LinkState.UP, "connected to two")
        await keeper.close()

    run(main)


def test_one_that_is_lost_while_it_is_joined_is_not_told_as_up() -> None:
    async def main() -> None:
        brokers = Brokers([])
        keeper = brokers.keeper()
        brokers.outcomes += [lambda: keeper.lost("cut at once"), None]
        await keeper.start(brokers.tell)
        assert brokers.told == [(LinkState.UP, "connected to two")]
        await keeper.close()

    run(main)


def test_start_does_not_wait_for_one_that_hangs() -> None:
    async def main() -> None:
        brokers = Brokers([])
        keeper = brokers.keeper(patience=0)
        await keeper.start(brokers.tell)
        assert keeper.state is LinkState.DOWN
        await keeper.close()
        assert brokers.told == []

    run(main)


def test_what_nobody_foresaw_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        brokers = Brokers([ZeroDivisionError("a bug"), None])
        keeper = brokers.keeper()
        await keeper.start(brokers.tell)
        keeper.require()
        await keeper.close()

    run(main)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "a bug" in caplog.text


def test_each_reason_is_a_warning_once_until_it_is_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "netserver.backplane.keeper")

    async def main() -> None:
        down, full = LinkDown("one: nobody is there"), LinkDown("two: it is full")
        brokers = Brokers([down, full, down, full, None, down])
        keeper = brokers.keeper()
        await keeper.start(brokers.tell)
        await brokers.is_up.wait()
        keeper.lost("cut")
        await brokers.used_up.wait()
        await keeper.close()

    run(main)
    warnings = [logging.WARNING, logging.WARNING]
    assert [each.levelno for each in caplog.records] == [
        *(*warnings, logging.DEBUG, logging.DEBUG, logging.WARNING)
    ]


def test_closing_one_that_was_never_started() -> None:
    async def main() -> None:
        keeper = Brokers([]).keeper()
        await keeper.close()
        assert keeper.state is LinkState.CLOSED

    run(main)
