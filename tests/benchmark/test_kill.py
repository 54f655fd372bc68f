"""The kill test: what it counts, and a short one with real servers and a real broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from benchmark.__main__ import main
from benchmark.brokers.process import BrokerMissing, find_program
from benchmark.commands.kill import block
from benchmark.kill import trial
from benchmark.kill.crowd import Count
from benchmark.kill.ledger import Ledger, Minutes
from benchmark.kill.trial import HOPELESS, PROMISED, Kill, Outcome, What

SHORT = ("--seconds", "0.3", "--calm", "0.2", "--dead-after", "1")
FEW = ("--servers", "2", "--clients", "12", "--groups", "2", "--rate", "10")


def ledger(*said: tuple[str, int, int]) -> Ledger:
    """One that has noted so much: sender, number and offset of each."""
    made = Ledger(Minutes())
    for each in said:
        made.note(*each)
    return made


def test_a_ledger_with_everything_in_order() -> None:
    noted = ledger(("ann", 1, 4), ("ben", 1, 5), ("ann", 2, 9))
    assert (noted.received, noted.doubled, noted.reordered) == (3, 0, 0)
    assert noted.count_missing({"ann": 2, "ben": 1, "eve": 0}) == 0
    assert noted.count_missing({"ann": 3, "ben": 1, "eve": 2}) == 3


def test_a_gap_is_missing_until_it_is_filled_out_of_order() -> None:
    noted = ledger(("ann", 1, 1), ("ann", 4, 4))
    assert noted.count_missing({"ann": 4}) == 2
    noted.note("ann", 3, 3)
    assert noted.count_missing({"ann": 4}) == 1
    assert (noted.doubled, noted.reordered) == (0, 1)


@pytest.mark.parametrize("number", [1, 3])
def test_what_came_before_is_doubled(number: int) -> None:
    noted = ledger(("ann", 1, 1), ("ann", 3, 3), ("ann", number, 4))
    assert (noted.received, noted.doubled, noted.reordered) == (3, 1, 0)
    assert noted.count_missing({"ann": 3}) == 1


def test_offsets_go_up_and_are_the_same_for_all() -> None:
    assert ledger(("ann", 1, 2), ("ben", 1, 1)).reordered == 1
    minutes = Minutes()
    one, other = Ledger(minutes), Ledger(minutes)
    one.note("ann", 1, 1)
    other.note("ben", 1, 1)
    assert (one.reordered, other.reordered) == (0, 1)


GOOD = Outcome(
    what=What.SERVERS,
    kills=(Kill(at=1.0, victim="server 1", clients=3, presence=PROMISED),),
    count=Count(
        said=9,
        taken=9,
        received=27,
        lost=0,
        doubled=0,
        reordered=0,
        losses=3,
        recovered=3,
        unrecovered=0,
        refused=1,
        away=(0.1, 0.2, 0.3),
    ),
)


def test_what_is_a_fault() -> None:
    assert GOOD.faults == []
    worse = evolve(GOOD.count, lost=2, doubled=1, reordered=1, taken=8, unrecovered=1)
    bad = evolve(GOOD, count=worse)
    assert bad.faults == [
        "2 lost",
        "1 doubled",
        "1 out of order",
        "1 not taken",
        "1 not recovered",
    ]
    for presence in (None, PROMISED + 0.1, HOPELESS):
        late = evolve(GOOD, kills=(evolve(GOOD.kills[0], presence=presence),))
        assert late.faults == ["presence not right within 10 s of 1 kills"]


@pytest.fixture
def nats() -> None:
    """Skips the test where there is no broker."""
    try:
        find_program("nats-server", "nats-server")
    except BrokerMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("what", ["servers", "broker"])
@pytest.mark.usefixtures("nats")
def test_nothing_is_lost_when_a_server_or_the_broker_is_killed(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    monkeypatch.setattr(trial, "DOWN", 0.5)
    path = tmp_path / "results.json"
    assert main(["kill", "--what", what, *FEW, *SHORT, "--json", str(path)]) == 0
    results = json.loads(path.read_text())
    (found,) = results["trials"]
    assert found["what"] == what
    assert len(found["kills"]) >= 1
    assert found["taken"] == found["said"] > 0
    assert found["received"] == 6 * found["said"]
    assert found["recovered"] == found["losses"] == sum(k["clients"] for k in found["kills"])
    assert found["faults"] == []
    assert f"| {what} | {len(found['kills'])} | {found['taken']:,} |" in block(results)
    assert "nothing lost, doubled or out of order" in capfd.readouterr().err


@pytest.mark.usefixtures("nats")
def test_a_server_that_loses_is_caught(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SITE", "tests.benchmark.losing_site")
    monkeypatch.setattr(trial, "FINISH", 0.5)
    path = tmp_path / "results.json"
    options = ("--what", "servers", "--seconds", "0", "--calm", "1", "--json", str(path))
    assert main(["kill", *FEW, "--servers", "1", *options]) == 1
    (found,) = json.loads(path.read_text())["trials"]
    assert found["lost"] == found["doubled"] > 0
    assert f"servers: {found['lost']} lost" in capfd.readouterr().err
