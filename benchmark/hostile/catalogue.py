"""All attacks there are."""

from __future__ import annotations

from itertools import chain

from benchmark.hostile import bombs, encryption, endings, floods, frames, handshakes
from benchmark.hostile.peer import Attack

FAMILIES: dict[str, tuple[Attack, ...]] = {
    "handshakes": tuple(handshakes.attacks()),
    "encryption": tuple(encryption.attacks()),
    "frames": tuple(frames.attacks()),
    "floods": tuple(floods.attacks()),
    "bombs": tuple(bombs.attacks()),
    "endings": tuple(endings.attacks()),
}

ATTACKS: dict[str, Attack] = {each.name: each for each in chain.from_iterable(FAMILIES.values())}
