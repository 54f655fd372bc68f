"""What came out of the runs, for people and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console

from benchmark.record import describe
from conformance.cases import Selection
from conformance.sides import Outcome
from conformance.suite import Suite


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Tell each side's result, and every case that did not pass, with its report."""
    for outcome in outcomes:
        verdict = outcome.verdict
        word = "passed" if verdict.passed else "FAILED"
        console.print(
            f"{outcome.side}: {word}, {verdict.cases - len(verdict.failures)} of {verdict.cases}"
            f" cases good in {outcome.seconds:.0f} s (messages: {_counts(verdict.behavior)};"
            f" closes: {_counts(verdict.behavior_close)})",
            soft_wrap=True,
        )
        for problem in verdict.problems:
            console.print(f"  {problem}", soft_wrap=True)
        for failure in verdict.failures:
            console.print(
                f"  {failure.case}: {failure.behavior}, close {failure.behavior_close}:"
                f" {outcome.reports / failure.report}",
                soft_wrap=True,
            )


def as_json(
    arguments: Sequence[str], suite: Suite, selection: Selection, outcomes: Sequence[Outcome]
) -> dict[str, object]:
    """The results with the machine, the versions and the command that gave them.

    Args:
        arguments: Those after ``python -m conformance``.
        suite: The suite that was run.
        selection: Its cases that were run.
        outcomes: What came of each side.
    """
    described = describe(())
    versions = described["versions"]
    assert isinstance(versions, dict)
    return {
        "benchmark": "conformance",
        **described,
        "command": shlex.join(["python", "-m", "conformance", *arguments]),
        "versions": {**versions, **suite.versions},
        "settings": {
            "selection": selection.name,
            "patterns": list(selection.patterns),
            "cases": len(selection.choose(suite.cases)),
        },
        "passed": all(outcome.verdict.passed for outcome in outcomes),
        "sides": {
            outcome.side: {
                "passed": outcome.verdict.passed,
                "cases": outcome.verdict.cases,
                "good": outcome.verdict.cases - len(outcome.verdict.failures),
                "behavior": outcome.verdict.behavior,
                "behaviorClose": outcome.verdict.behavior_close,
                "failures": [
                    {
                        "case": failure.case,
                        "behavior": failure.behavior,
                        "behaviorClose": failure.behavior_close,
                    }
                    for failure in outcome.verdict.failures
                ],
                "problems": list(outcome.verdict.problems),
                "seconds": round(outcome.seconds, 1),
            }
            for outcome in outcomes
        },
    }


def _counts(verdicts: dict[str, int]) -> str:
    return ", ".join(f"{verdicts[said]} {said}" for said in sorted(verdicts)[::-1]) or "none"
