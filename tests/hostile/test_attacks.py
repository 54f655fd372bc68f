"""Every attack there is, for real: how it is met, and that the good do not notice."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.hostile.catalogue import ATTACKS
from benchmark.usage import resident_bytes

pytestmark = pytest.mark.alone

PATIENCE = 20.0  # seconds in which the good are served even so

# Attacks of which many are carried out at once, and more than once, to see what they leave behind.
MANY = (
    "silence",
    "thousands of headers",
    "half a hello",
    "broken hello",
    "unmasked",
    "length 2^63 - 1, dripped",
    "endless fragments of nothing",
    "reads nothing",
    "reset with answers unread, ws",
    "half-closed in a frame, wss",
)


@pytest.mark.parametrize("name", ATTACKS)
def test_one(site: Any, name: str) -> None:
    attack = ATTACKS[name]
    before = site.settled(lambda found: True)["codes"]
    (met,) = site.attack(name, attack.where)
    assert met["outcome"] in attack.expected, met

    def noted(found: dict[str, Any]) -> bool:
        ends = {code: n - before.get(code, 0) for code, n in found["codes"].items()}
        ends = {code: n for code, n in ends.items() if n}
        return attack.noted is None or ends == {str(attack.noted): 1}

    site.settled(noted)
    site.watch.check()


def test_nothing_is_left_of_many(site: Any) -> None:
    """Descriptors and memory come back, and nobody is spoken of in the log."""
    copies = 40
    before = 0
    sizes = []
    for _ in range(3):
        for name in MANY:
            site.attack(name, ATTACKS[name].where, copies)
        found = site.settled(lambda found: True)
        before = before or found["descriptors"]
        assert found["descriptors"] <= before
        sizes.append(resident_bytes(site.server.process.pid))
    # What is loaded or pooled when it is first needed is there after the first two rounds: a
    # KiB for each of the attackers of a round would be half a megabyte.
    assert sizes[-1] - sizes[1] < 4 * 1024 * 1024, sizes
    # Fifty threads of the attacker's are in the way of whoever shares the machine with it.
    site.watch.check(within=PATIENCE)


def test_the_log_is_no_way_to_fill_a_disk(site: Any) -> None:
    """What peers do wrong is theirs to know: thousands of them leave next to nothing in a log."""
    before = len(site.server.said())
    for name in ("garbage", "unmasked", "garbage where TLS is expected", "foreign origin"):
        for _ in range(5):
            site.attack(name, ATTACKS[name].where, 50)
    said = site.server.said()[before:]
    assert len(said) < 2000, said
    site.watch.check(within=PATIENCE)
