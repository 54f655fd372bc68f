"""Masking, compiled and pure, and what is installed or not."""

from __future__ import annotations

import os
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwire.websocket import compression
from netwire.websocket.masking import Masker, apply_mask, cut, find_masker, masking_key, pure_mask

MASKERS = {"pure": pure_mask, "compiled": apply_mask}


def test_the_compiled_one_is_installed_here() -> None:
    assert apply_mask is not pure_mask


@pytest.mark.parametrize("name", MASKERS)
@given(
    payload=st.one_of(st.binary(max_size=1500), st.integers(0, 9).map(lambda n: bytes(4090 + n))),
    key=st.binary(min_size=4, max_size=4),
    at=st.integers(0, 9),
)
def test_masking_is_xor(name: str, payload: bytes, key: bytes, at: int) -> None:
    mask: Masker = MASKERS[name]
    data = b"." * at + payload + b"more"
    expected = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    for given_ in (payload, memoryview(payload), cut(data, at, at + len(payload))):
        masked = mask(given_, key)
        assert type(masked) is bytes
        assert masked == expected
    assert mask(expected, key) == payload


def test_both_are_equal_at_every_length() -> None:
    data, key = os.urandom(3000), os.urandom(4)
    for length in range(3000):
        assert pure_mask(data[:length], key) == apply_mask(data[:length], key)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("websockets.speedups", "zlib_ng"):
        monkeypatch.setitem(sys.modules, name, None)
    assert find_masker() is pure_mask
    assert compression.find_zlib() is zlib


def test_keys_are_new() -> None:
    keys = {masking_key() for _ in range(3000)}
    assert len(keys) > 2990
    assert {len(key) for key in keys} == {4}
