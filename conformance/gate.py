"""Whether a run of the suite passed. Pure: from its index, as it wrote it, to a verdict.

The suite's exit status says nothing: it is 0 even when nobody was there to be tested. So the gate
wants to see what was asked for: the agent, exactly the cases, and in each of them both verdicts,
on the messages (``behavior``) and on the close (``behaviorClose``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from attrs import frozen

# NON-STRICT is not among them: it says that an implementation is right in the end and not at the
# first moment at which it could have been, and ours can be. Nor is UNIMPLEMENTED: that is how the
# suite puts it when compression was not agreed upon.
PASSED = frozenset({"OK", "INFORMATIONAL"})


@frozen(kw_only=True)
class Failure:
    """A case that did not pass.

    Args:
        case: Its number, like ``7.1.5``.
        behavior: The suite's verdict on the messages.
        behavior_close: Its verdict on the close.
        report: The name of its report's file, in the folder of reports.
    """

    case: str
    behavior: str
    behavior_close: str
    report: str


@frozen(kw_only=True)
class Verdict:
    """What became of a run.

    Args:
        cases: How many cases were asked for and run.
        behavior: How often each verdict on messages was given.
        behavior_close: The same on closes.
        failures: The cases that did not pass, in order.
        problems: What else is wrong with the run.
    """

    cases: int
    behavior: dict[str, int]
    behavior_close: dict[str, int]
    failures: tuple[Failure, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all is well."""
        return self.cases > 0 and not self.failures and not self.problems


def judge(
    index: Mapping[str, Any], agent: str, wanted: Collection[str], count: int | None = None
) -> Verdict:
    """Judge a run.

    Args:
        index: What the suite wrote: agent, then case, then its verdicts.
        agent: Who was under test.
        wanted: The cases that were to be run.
        count: How many these must be; None where that is not known beforehand.
    """
    problems = []
    if count is not None and len(wanted) != count:
        problems.append(f"there should be {count} cases, and the suite has {len(wanted)} of them")
    if not wanted:
        problems.append("no case was asked for")
    if agent not in index:
        problems.append(f"{agent} is not in the suite's index: nothing was tested")
    if strangers := sorted(set(index) - {agent}):
        problems.append(f"others are in the suite's index: {', '.join(strangers)}")
    found: Mapping[str, Any] = index.get(agent, {})
    if missing := [case for case in wanted if case not in found]:
        problems.append(f"{len(missing)} cases of {len(wanted)} were not run: {_some(missing)}")
    if extra := sorted(set(found) - set(wanted), key=_order):
        problems.append(f"{len(extra)} cases were run that were not asked for: {_some(extra)}")
    ran = {case: found[case] for case in sorted(set(found) & set(wanted), key=_order)}
    return Verdict(
        cases=len(ran),
        behavior=dict(Counter(_said(said, "behavior") for said in ran.values())),
        behavior_close=dict(Counter(_said(said, "behaviorClose") for said in ran.values())),
        failures=tuple(
            Failure(
                case=case,
                behavior=_said(said, "behavior"),
                behavior_close=_said(said, "behaviorClose"),
                report=str(said.get("reportfile", "")),
            )
            for case, said in ran.items()
            if not {_said(said, "behavior"), _said(said, "behaviorClose")} <= PASSED
        ),
        problems=tuple(problems),
    )


def _said(said: Mapping[str, Any], which: str) -> str:
    return str(said.get(which, "missing"))


def _some(cases: list[str], shown: int = 10) -> str:
    return ", ".join(cases[:shown]) + (", …" if len(cases) > shown else "")


def _order(case: str) -> tuple[int, ...]:
    return tuple(int(part) for part in case.split(".") if part.isdecimal())
