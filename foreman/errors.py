"""What can go wrong between workers, nodes and the Foreman.

ForemanError
├── InvalidLatency (ValueError)     a declared latency that is no positive, finite number
├── Infeasible (RuntimeError)       no node can keep the declared latency, none may be spawned
├── NotMovable (RuntimeError)       the worker cannot leave its node now
└── NotRunning (RuntimeError)       the Foreman, or the worker's place in it, is not there
"""

from __future__ import annotations


class ForemanError(Exception):
    """Base of every error of this package."""


class InvalidLatency(ForemanError, ValueError):
    """A declared latency that cannot be kept because it is none.

    Attributes:
        value: What was given.
    """

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return (
            "required_latency must be a positive, finite number of seconds, "
            f"not {self.value!r} ({type(self.value).__name__})"
        )


class Infeasible(ForemanError, RuntimeError):
    """No node can keep the declared latency, and no more nodes may be spawned.

    Nothing has changed: whoever was placed before keeps its place and its promise.

    Attributes:
        required_latency: What was asked for, seconds; None when a node was asked for.
        reason: What stands against it, in words.
    """

    def __init__(self, required_latency: float | None, reason: str) -> None:
        super().__init__(required_latency, reason)
        self.required_latency = required_latency
        self.reason = reason

    def __str__(self) -> str:
        if self.required_latency is None:
            return self.reason
        return f"a latency of {self.required_latency:g} s cannot be kept: {self.reason}"


class NotMovable(ForemanError, RuntimeError):
    """The worker cannot leave its node now; it stays where it was and goes on working."""


class NotRunning(ForemanError, RuntimeError):
    """The Foreman has not been started, or was stopped, or does not know the worker."""
