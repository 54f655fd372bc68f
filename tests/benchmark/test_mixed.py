"""The mixed scenario: its timetable, its windows, and the command with every server there is."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve

from benchmark import picture
from benchmark.__main__ import main
from benchmark.errors import BenchmarkError
from benchmark.load.timetable import Attendance
from benchmark.mixed import SLOW, STRICT, Mixed
from benchmark.mixed_report import described, remarks, table, title
from benchmark.mixed_run import Outcome, undisturbed
from benchmark.servers import SERVERS
from benchmark.timeline import SECOND, Timeline

URLS = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]
WORKING = [name for name, kind in SERVERS.items() if kind.works]


@pytest.fixture
def mixed() -> Mixed:
    return Mixed(
        transport="tcp",
        strict=20,
        strict_rate=50.0,
        slow=4,
        work="compute",
        hold=0.020,
        slow_load=0.8,
        alike=False,
        lower_after=None,
        idle=0,
        garbage=False,
        size=128,
        seconds=9.0,
        warmup=1.0,
        seed=1,
    )


def test_both_classes_have_fixed_schedules(mixed: Mixed) -> None:
    strict, slow = mixed.traffic(URLS)
    assert [len(strict.due), len(slow.due)] == [20, 4]
    for times in [*strict.due, *slow.due]:
        gaps = {later - earlier for earlier, later in pairwise(times)}
        assert max(gaps) - min(gaps) <= 1  # nanoseconds, of rounding
        assert times[0] >= 0
        assert times[-1] <= mixed.length * SECOND
    assert strict.due[0][1] - strict.due[0][0] == SECOND / 50
    assert sum(map(len, strict.due)) == pytest.approx(20 * 50 * 10, rel=0.01)


@pytest.mark.parametrize("slow", [1, 2, 4, 40])
def test_the_slow_class_asks_for_its_share(mixed: Mixed, slow: int) -> None:
    _, traffic = evolve(mixed, slow=slow, seconds=99.0).traffic(URLS)
    assert sum(map(len, traffic.due)) * 0.020 == pytest.approx(0.8 * 100, rel=0.05)


def test_slow_connections_drift_against_each_other(mixed: Mixed) -> None:
    _, slow = mixed.traffic(URLS)
    assert len({times[1] - times[0] for times in slow.due}) == 4


def test_the_seed_decides(mixed: Mixed) -> None:
    assert mixed.traffic(URLS) == mixed.traffic(URLS)
    assert mixed.traffic(URLS) != evolve(mixed, seed=2).traffic(URLS)


def test_where_the_classes_connect_and_what_they_say(mixed: Mixed) -> None:
    found = {each.name: (each.line.url, each.line.opening) for each in mixed.traffic(URLS)}
    assert found == {"strict": (URLS[0], "."), "slow": (URLS[1], "!")}
    alike = evolve(mixed, alike=True, garbage=True).traffic(URLS)
    assert [(each.line.url, each.line.opening) for each in alike] == [
        (URLS[0], "G"),
        (URLS[0], "!"),
    ]


def test_the_one_that_lowers_says_so_once_and_in_time(mixed: Mixed) -> None:
    *_, lowering = evolve(mixed, lower_after=5.0).traffic(URLS)
    assert lowering.line.url == URLS[1]
    assert lowering.line.exception is not None
    number, said = lowering.line.exception
    assert said == "L0.010 "
    assert lowering.due[0][number] == 5 * SECOND
    windows = [
        window for window in evolve(mixed, lower_after=5.0).windows() if window[1] == "lowering"
    ]
    assert [(window[2], window[3], window[4]) for window in windows] == [
        (SLOW, 1.0, 5.0),
        (STRICT, 5.0, 6.0),
        (STRICT, 6.0, 10.0),
    ]


def test_without_slow_connections_there_is_no_such_class(mixed: Mixed) -> None:
    assert [each.name for each in evolve(mixed, slow=0).traffic(URLS)] == ["strict"]


def make_outcome(mixed: Mixed, statistics: dict[str, Any], end: float = 11.0) -> Outcome:
    """Strict messages that take 5 ms up to the 2nd second, then 20 ms; one slow one never comes."""
    due = [n * SECOND // 100 for n in range(1000)]
    heard = [at + (5 if at < 2 * SECOND else 20) * SECOND // 1000 for at in due]
    return Outcome(
        server="foreman",
        mixed=mixed,
        attendance=Attendance(
            client="c",
            precedence=True,
            started=100.0,
            elapsed=end,
            client_cpu=0.05,
            server_cpu=0.9,
            other_cpu=0.5,
        ),
        timelines={
            "strict": Timeline(due, due, heard, round(end * SECOND)),
            "slow": Timeline([2 * SECOND], [2 * SECOND], [-1], round(end * SECOND)),
        },
        statistics=statistics,
    )


STATISTICS = {
    "started": 98.0,
    "nodes": [
        {"workers": 20, "required_latency": 0.010},
        {"workers": 4, "required_latency": 1.0},
    ],
    "events": [
        {"at": 1.0, "kind": "spawned", "node": "node-1", "reason": "first"},
        {"at": 5.0, "kind": "spawned", "node": "node-2", "reason": "needed"},
        {"at": 6.0, "kind": "moved", "worker": "w", "old": "node-1", "new": "node-2", "reason": ""},
    ],
}


def test_figures_leave_the_warm_up_out(mixed: Mixed) -> None:
    figures = dict(make_outcome(mixed, {}).figures())
    assert (figures["strict"].count, figures["strict"].missed) == (900, 800)
    assert figures["slow"].unanswered == 1


def test_those_alike_are_also_counted_once_they_are_known(mixed: Mixed) -> None:
    figures = dict(make_outcome(evolve(mixed, alike=True), {}).figures())
    assert (figures["strict to 2 s"].count, figures["strict to 2 s"].missed) == (200, 0)
    assert (figures["strict from 2 s"].count, figures["strict from 2 s"].missed) == (800, 800)
    assert figures["slow"].declared == STRICT


def test_events_are_told_in_the_time_of_the_load(mixed: Mixed) -> None:
    outcome = make_outcome(mixed, STATISTICS)
    assert [at for at, _ in outcome.events("spawned", "moved")] == [-1.0, 3.0, 4.0]
    assert make_outcome(mixed, {}).events("spawned") == []


def test_remarks_tell_nodes_moves_ages_and_noise(mixed: Mixed) -> None:
    lines = remarks([make_outcome(mixed, STATISTICS)])
    assert lines[0] == (
        "foreman: 2 nodes at the end (20 workers, the strictest 10 ms; 4 workers, the strictest"
        " 1000 ms); 1 spawned, 1 moved, 0 retired"
    )
    assert "1 slow messages were unanswered at the end, the oldest for 9.0 s" in lines[1]
    assert "in real time" in lines[-2]
    assert "0.5 during foreman" in lines[-1]


def test_the_title_tells_what_is_special(mixed: Mixed) -> None:
    special = evolve(mixed, alike=True, lower_after=3.0, idle=15_000, garbage=True)
    assert len(title(special).splitlines()) == len(title(mixed).splitlines()) + 4


def test_the_table_has_a_row_per_class(mixed: Mixed) -> None:
    assert table([make_outcome(mixed, {}), make_outcome(mixed, STATISTICS)]).row_count == 4


def results_of(mixed: Mixed, *outcomes: Outcome) -> dict[str, Any]:
    """What the results file holds of them, as it is read again."""
    results = {"settings": asdict(mixed), "outcomes": [described(each) for each in outcomes]}
    found: dict[str, Any] = json.loads(json.dumps(results))
    return found


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_picture_has_a_panel_per_server(mixed: Mixed, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / f"picture{suffix}"
    assert picture.obstacle(path) is None
    outcomes = [make_outcome(mixed, STATISTICS), make_outcome(evolve(mixed, lower_after=4.0), {})]
    picture.draw_mixed(path, results_of(mixed, *outcomes))
    content = path.read_bytes()
    if suffix == ".svg":
        assert picture.shows(path, results_of(mixed, *outcomes))
        assert not picture.shows(path, results_of(mixed, outcomes[0]))
        for label in (b"strict: p99", b"slow: declared", b"spawned", b"moved"):
            assert label in content
    assert len(content) > 5000


def test_a_picture_that_cannot_be_is_an_error(
    mixed: Mixed, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert main(["mixed", "--picture", str(tmp_path / "picture.gif")]) == 1
    assert "a picture is one of .svg, .png, .pdf" in capfd.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="cannot be written"):
        picture.draw_mixed(
            tmp_path / "file" / "picture.svg", results_of(mixed, make_outcome(mixed, {}))
        )


@pytest.mark.parametrize(
    ("disturbances", "tries", "counts"),
    [
        ([0.5, 0.3, 0.9], 3, 0.3),
        ([0.5, 0.05], 3, 0.05),
        ([None], 3, None),
        ([0.7], 1, 0.7),
    ],
)
def test_the_least_disturbed_of_several_turns_counts(
    mixed: Mixed, disturbances: list[float | None], tries: int, counts: float | None
) -> None:
    left = list(disturbances)

    async def turn() -> Outcome:
        made = make_outcome(mixed, {})
        return evolve(made, attendance=evolve(made.attendance, other_cpu=left.pop(0)))

    assert asyncio.run(undisturbed(turn, tries)).attendance.other_cpu == counts
    assert not left


def run(tmp_path: Path, *options: str) -> Any:
    path = tmp_path / "results.json"
    short = ("--seconds", "1.5", "--warmup", "0.2", "--json", str(path))
    assert main(["mixed", *short, *options]) == 0
    return json.loads(path.read_text())


def test_ours_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    drawing = tmp_path / "picture.png"
    load = ("--strict", "4", "--strict-rate", "40", "--slow", "2", "--hold", "0.03")
    special = ("--lower-after", "0.3", "--garbage", "--idle", "50", "--work", "both")
    results = run(tmp_path, "--peers", "", "--picture", str(drawing), *load, *special)
    (ours,) = results["outcomes"]
    classes = ours["classes"]
    assert set(classes) == {"strict", "slow", "before lowering", "1 s after", "then"}
    assert classes["strict"]["messages"] == pytest.approx(4 * 40 * 1.5, abs=8)
    assert classes["slow"]["p50_seconds"] >= 0.03
    assert classes["1 s after"]["declared_seconds"] == STRICT
    assert sum(node["workers"] for node in ours["nodes"]) >= 4 + 2 + 1 + 50
    assert {event["kind"] for event in ours["events"]} >= {"spawned"}
    assert sum(each["messages"] for each in ours["timeline"]["strict"]) >= 4 * 40 * 1.5
    assert drawing.stat().st_size > 5000
    shown = capfd.readouterr().out
    assert "4 strict connections, each sending 40 messages a second" in shown
    assert "It sent late by p99 (max) ms: foreman" in shown


@pytest.mark.parametrize("name", [name for name in WORKING if name != "foreman"])
def test_a_peer_beside_ours(tmp_path: Path, name: str) -> None:
    reason = SERVERS[name].obstacle("tcp")
    if reason is not None:
        pytest.skip(reason)
    results = run(tmp_path, "--peers", name, "--strict", "4", "--slow", "1", "--slow-load", "0.3")
    ours, peer = results["outcomes"]
    assert (ours["server"], peer["server"]) == ("foreman", name)
    assert ours["classes"]["strict"]["messages"] == peer["classes"]["strict"]["messages"] > 0
    for outcome in (ours, peer):
        assert outcome["classes"]["slow"]["p50_seconds"] >= 0.02
        assert outcome["classes"]["strict"]["unanswered"] == 0


@pytest.mark.parametrize("transport", ["ws", "tls"])
def test_other_transports_leave_out_who_does_not_speak_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], transport: str
) -> None:
    results = run(tmp_path, "--transport", transport, "--slow-load", "0.3", "--alike")
    assert [outcome["server"] for outcome in results["outcomes"]] == ["foreman"]
    assert f"left out: one-loop listens on tcp, not on {transport}" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--peers", "aiohttp"], "'aiohttp' is none of the peers of this scenario: one-loop"),
        (["--lower-after", "10"], "--lower-after leaves less than a second"),
        (["--transport", "ws", "--peers", "one-loop"], "one-loop listens on tcp, not on ws"),
    ],
)
def test_what_cannot_be_is_an_error(
    capfd: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    assert main(["mixed", *options]) == 1
    assert complaint in capfd.readouterr().err
