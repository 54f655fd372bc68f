"""What is no worker, no node or no declaration: told at once, with what to do instead."""

from __future__ import annotations

from typing import Any

import pytest

from foreman import BestFit, Foreman, Worker
from tests.foreman.conftest import PATIENCE, Probe


class Forgetful(Worker):
    def __init__(self) -> None:
        self.database = 1


CALLS = {
    "add": lambda foreman, worker: foreman.add(worker),
    "remove": lambda foreman, worker: foreman.remove(worker),
    "move": lambda foreman, worker: foreman.move(worker, foreman.spawn()),
    "require": lambda foreman, worker: foreman.require(worker, 0.5),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize(
    ("whom", "text"),
    [
        (Probe, r"Probe is a class; make a worker of it first, as in Probe\(\)"),
        (object, "an instance of a subclass of Worker, not <class 'object'>"),
        (5, "a worker is an instance of a subclass of Worker, not 5"),
        (None, "not None"),
        (Forgetful(), r"Forgetful.__init__ must call super\(\).__init__\(\)"),
    ],
    ids=["its class", "another class", "a number", "nothing", "half made"],
)
def test_what_is_no_worker(foreman: Foreman, call: Any, whom: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        call(foreman, whom)
    assert foreman.statistics().workers == 0


@pytest.mark.parametrize("node", ["node-1", None, 0])
def test_what_is_no_node(foreman: Foreman, node: Any) -> None:
    worker = Probe()
    foreman.add(worker)
    with pytest.raises(TypeError, match=f"one of Foreman.nodes, not to {node!r}"):
        foreman.move(worker, node)
    foreman.remove(worker).result(PATIENCE)
    assert worker.log == ["start", "stop"]


def test_a_latency_assigned_to_a_class_that_exists(foreman: Foreman) -> None:
    class Late(Probe):
        pass

    class Heir(Late):
        pass

    there = Heir()
    foreman.add(there)
    Late.required_latency = 0.25
    for made in (Late(), Heir()):
        with pytest.raises(TypeError, match=r"Late.required_latency .* in the class body"):
            foreman.add(made)
    foreman.remove(there).result(PATIENCE)
    del Late.required_latency
    late = Late()
    foreman.add(late)
    foreman.remove(late).result(PATIENCE)


def test_no_latency_at_all_assigned_to_a_class(foreman: Foreman) -> None:
    """It hides what workers declare as any number does."""

    class Late(Probe):
        pass

    Late.required_latency = None  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"Late.required_latency is a plain NoneType"):
        foreman.add(Late())


def test_a_latency_of_a_class_that_is_no_worker(foreman: Foreman) -> None:
    class Strict:
        required_latency = 0.25

    class Mixed(Strict, Probe):
        pass

    class Harmless(Probe, Strict):
        pass

    with pytest.raises(TypeError, match=r"Strict.required_latency .* in the class body"):
        foreman.add(Mixed())
    harmless = Harmless()
    foreman.add(harmless)
    assert harmless.required_latency == 1.0
    foreman.remove(harmless).result(PATIENCE)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"move_timeout": "1"}, "move_timeout is a number of seconds, not '1'"),
        ({"policy": BestFit}, "policy is an object with the methods of Policy, not <class"),
        ({"policy": 3}, "policy is an object with the methods of Policy, not 3"),
        ({"clock": 3}, "clock is something to be called, not 3"),
        ({"loop_factory": 3}, "loop_factory is something to be called, not 3"),
        ({"on_event": 3}, "on_event is something to be called, not 3"),
    ],
)
def test_what_a_foreman_cannot_be_made_with(options: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Foreman(**options)
