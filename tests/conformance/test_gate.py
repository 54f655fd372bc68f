"""The gate, on indexes that the suite wrote and on the same with something changed.

The suite's own exit status is 0 in all of these.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from conformance.errors import RunFailed
from conformance.fuzzer import fuzz_server, read_index
from conformance.gate import Verdict, judge
from conformance.suite import Suite

CASES = ("1.1.1", "1.2.1", "3.2", "7.1.6", "7.13.1", "12.1.1")
LARGE = ("1.1.8", "9.1.1", "1.1.2")

Run = Callable[..., dict[str, Any]]


async def echo(connection: ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass  # as many a case ends


@pytest.fixture(scope="module")
def run(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs cases against a server of the ``websockets`` library, made with these options."""

    def running(cases: Sequence[str], **options: Any) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("reports")

        async def main() -> dict[str, Any]:
            async with serve(echo, "127.0.0.1", 0, **options) as server:
                port = next(iter(server.sockets)).getsockname()[1]
                url = f"ws://127.0.0.1:{port}"
                return await fuzz_server(suite, url, "peer", cases, folder, print, 60.0)

        index = asyncio.run(main())
        for said in index.get("peer", {}).values():
            assert (folder / said["reportfile"]).exists()
        return index

    return running


@pytest.fixture(scope="module")
def good_index(run: Run) -> dict[str, Any]:
    return run([case for case in CASES if case != "3.2"])


@pytest.fixture
def index(good_index: dict[str, Any]) -> dict[str, Any]:
    """A good one, to be changed."""
    return copy.deepcopy(good_index)


def judged(index: dict[str, Any], count: int | None = None) -> Verdict:
    return judge(index, "peer", [case for case in CASES if case != "3.2"], count)


def test_a_good_one(index: dict[str, Any]) -> None:
    verdict = judged(index, 5)
    assert verdict.passed
    assert verdict.cases == 5
    assert verdict.behavior == {"OK": 3, "INFORMATIONAL": 2}
    assert not verdict.failures
    assert not verdict.problems


def test_one_in_which_cases_failed(run: Run) -> None:
    """The server takes messages of 1,000 bytes at most."""
    verdict = judge(run(LARGE, max_size=1000), "peer", LARGE)
    assert not verdict.passed
    assert [(each.case, each.behavior) for each in verdict.failures] == [
        ("1.1.8", "FAILED"),
        ("9.1.1", "FAILED"),
    ]
    assert verdict.failures[0].report == "peer_case_1_1_8.json"
    assert verdict.cases == 3


def test_non_strict_has_not_passed(run: Run) -> None:
    """This library fails a connection before it has answered what came with the fault."""
    verdict = judge(run(["3.2", "1.1.1"]), "peer", ["1.1.1", "3.2"], 2)
    assert not verdict.passed
    (failure,) = verdict.failures
    assert (failure.case, failure.behavior, failure.behavior_close) == ("3.2", "NON-STRICT", "OK")


def test_unimplemented_has_not_passed(run: Run) -> None:
    verdict = judge(run(["12.1.1"], compression=None), "peer", ["12.1.1"], 1)
    (failure,) = verdict.failures
    assert failure.behavior == "UNIMPLEMENTED"


def test_nothing_listens(suite: Suite, tmp_path: Path) -> None:
    async def main() -> dict[str, Any]:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}"  # closed by now
        return await fuzz_server(suite, url, "peer", ["1.1.1"], tmp_path, print, 60.0)

    index = asyncio.run(main())
    assert index == {}
    verdict = judge(index, "peer", ["1.1.1"], 1)
    assert not verdict.passed
    assert verdict.problems == (
        "peer is not in the suite's index: nothing was tested",
        "1 cases of 1 were not run: 1.1.1",
    )


def test_the_server_goes_away(suite: Suite, tmp_path: Path) -> None:
    """The suite takes it as the end, and has nothing to complain of."""

    async def main() -> dict[str, Any]:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]

            def leave(case: str) -> None:
                if case == "7.1.6":
                    server.close()

            url = f"ws://127.0.0.1:{port}"
            return await fuzz_server(suite, url, "peer", CASES, tmp_path, leave, 60.0)

    index = asyncio.run(main())
    assert {"1.1.1", "1.2.1"} <= set(index["peer"]) < set(CASES)
    verdict = judge(index, "peer", CASES, len(CASES))
    assert not verdict.passed
    assert "were not run: " in verdict.problems[0]


@pytest.mark.parametrize("which", ["behavior", "behaviorClose"])
@pytest.mark.parametrize(
    "said", ["FAILED", "NON-STRICT", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT", "", None]
)
def test_both_verdicts_count(index: dict[str, Any], which: str, said: str | None) -> None:
    index["peer"]["7.1.6"][which] = said
    verdict = judged(index, 5)
    assert not verdict.passed
    assert [failure.case for failure in verdict.failures] == ["7.1.6"]
    del index["peer"]["7.1.6"][which]
    assert not judged(index, 5).passed


def test_a_missing_case(index: dict[str, Any]) -> None:
    del index["peer"]["1.2.1"]
    verdict = judged(index)
    assert not verdict.passed
    assert verdict.problems == ("1 cases of 5 were not run: 1.2.1",)


def test_a_case_too_many(index: dict[str, Any]) -> None:
    index["peer"]["1.1.2"] = index["peer"]["1.1.1"]
    verdict = judged(index)
    assert not verdict.passed
    assert verdict.problems == ("1 cases were run that were not asked for: 1.1.2",)


@pytest.mark.parametrize("count", [4, 6, 517])
def test_another_number_than_there_must_be(index: dict[str, Any], count: int) -> None:
    verdict = judged(index, count)
    assert not verdict.passed
    assert verdict.problems == (f"there should be {count} cases, and the suite has 5 of them",)


def test_another_agent(index: dict[str, Any]) -> None:
    assert not judged({"other": index["peer"]}).passed
    verdict = judged({**index, "other": {}})
    assert not verdict.passed
    assert verdict.problems == ("others are in the suite's index: other",)


def test_nothing_asked_for() -> None:
    assert not judge({"peer": {}}, "peer", []).passed


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(RunFailed, match=re.escape("the suite's index")):
        read_index(tmp_path)
