"""What holds of masking and of headers, whatever the payload.

What holds of whole streams is in ``tests/fuzz``: splitting changes nothing, plain wsproto agrees.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netwire.websocket.frames import BINARY, FIN, MASKED, build_frame, parse_header
from netwire.websocket.masking import apply_mask

sizes = st.sampled_from([0, 1, 2, 3, 124, 125, 126, 127, 1023, 1024, 1025, 65535, 65536])


@given(st.binary(max_size=1500), st.binary(min_size=4, max_size=4))
def test_masking_is_xor(payload: bytes, key: bytes) -> None:
    masked = apply_mask(payload, key)
    assert masked == bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    assert apply_mask(masked, key) == payload


@given(sizes, st.sampled_from([0, MASKED]), st.binary(max_size=9))
def test_a_header_says_where_its_payload_is(size: int, mask: int, before: bytes) -> None:
    built = build_frame(BINARY, bytes(size), mask)
    header = parse_header(before + built, len(before))
    assert header is not None
    assert header == (FIN | BINARY, size, len(before) + len(built) - size)
    for cut in range(len(built) - size):
        assert parse_header(before + built[:cut], len(before)) is None
