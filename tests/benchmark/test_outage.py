"""The outage test: what it makes of its figures, and a short one with a real broker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.commands.outage import KEPT
from benchmark.outage import report
from benchmark.outage.probe import Probe
from benchmark.outage.trial import HOPELESS
from tests.netserver.backplane.brokers import required_nats

SHORT = ("--seconds", "1", "--warmup", "0.2", "--flood", "0.3", "--pairs", "1")
MIB = 1024 * 1024


def trial(**changes: Any) -> dict[str, Any]:
    """What one outage came to, where all is as it should be."""
    found = {
        "backplane": "nats",
        "fault": "killed",
        "before": {"all": {"p99_seconds": 0.002}},
        "during": {"all": {"p99_seconds": 0.0022}},
        "flood": {"limit": 8 * MIB, "waiting": 8 * MIB, "memory_bytes": 15 * MIB},
        "back_seconds": [0.2, 1.9],
        "servers": [
            {"cluster": {"dropped": 1000}, "events": [{"kind": "BackplaneDown", "at": 0.1}]},
            {"cluster": {"dropped": 234}, "events": [{"kind": "BackplaneUp", "at": 0.9}]},
        ],
    }
    return {**found, **changes}


def test_the_table_has_what_matters() -> None:
    (row,) = report.rows([trial()])
    assert row == (
        *("nats killed", "2.00", "2.20", "1.10"),
        *("8.0", "15.0", "0.10", "1,234", "1.90"),
    )


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, None),
        ({"during": {"all": {"p99_seconds": 0.0023}}}, 0),
        ({"flood": {"limit": MIB, "waiting": 1.1 * MIB, "memory_bytes": 0}}, 1),
        ({"flood": {"limit": MIB, "waiting": 0, "memory_bytes": 2.1 * MIB}}, 2),
        ({"back_seconds": [2.1, 0.1]}, 3),
    ],
)
def test_bars_are_what_was_asked(changes: dict[str, Any], missed: int | None) -> None:
    met = [bar.met for bar in report.bars([trial(**changes)])]
    assert met == [number != missed for number in range(4)]


def test_what_was_sent_before_does_not_count_as_back() -> None:
    async def run() -> None:
        probe, now = Probe(), monotonic()

        def arrive() -> None:
            for number, sent in ((0, now - 1), (1, now + 1), (1, now + 2)):
                probe._note(number, f"{sent:.9f}")

        asyncio.get_running_loop().call_soon(arrive)
        never, first = await probe.first_since(now, 0.01)
        assert never is None
        assert first is not None
        assert first >= now

    asyncio.run(run())


def test_local_messages_go_on_and_others_come_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with required_nats():
        pass  # it is there
    path = tmp_path / "results.json"
    options = ("--backplane", "nats", "--fault", "killed", "--json", str(path))
    assert main(["outage", *SHORT, *options]) == 0
    said = capfd.readouterr()
    assert "nats killed: messages cross again after " in said.err
    assert "nats killed: waiting in a flood: " in said.out
    results = json.loads(path.read_text())
    (found,) = results["trials"]
    for period in ("before", "during"):
        for kind in ("echo", "send_to", "broadcast"):
            assert found[period][kind]["messages"] > 0
            assert found[period][kind]["unanswered"] == 0
    flood = found["flood"]
    assert 0 < flood["waiting"] <= flood["limit"]
    assert set(flood["outcomes"]) <= {"unknown", "refused"}
    for server in found["servers"]:
        kinds = [event["kind"] for event in server["events"] if event["kind"] != "MessagesDropped"]
        assert kinds[-2:] == ["BackplaneDown", "BackplaneUp"]
        assert server["cluster"]["link_up"]
    assert len(found["back_seconds"]) == 4  # both ways, twice
    assert max(found["back_seconds"]) < HOPELESS
    assert "nats killed" in KEPT.blocks["outage"](results)
