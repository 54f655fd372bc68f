"""What servers tell each other, well-formed and not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netserver.cluster.frames import (
    LONGEST_KEY,
    LONGEST_NAME,
    BadFrame,
    Kind,
    decode,
    encode,
    encode_head,
    encode_message,
    encode_record,
)
from netserver.cluster.presence import Notice, decode_notice, encode_notice

ME = bytes(range(8))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
RECORDS = st.tuples(
    st.sampled_from(Kind),
    st.integers(0, 2**32 - 1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.binary(max_size=100),
)


@given(NAMES, st.lists(RECORDS, max_size=5))
def test_a_frame_comes_out_as_it_went_in(
    name: str, records: list[tuple[Kind, int, str, bytes]]
) -> None:
    data = encode_head(ME, name)
    for kind, number, key, body in records:
        data += encode_record(kind, body, number=number, key=key)
    frame = decode(data)
    assert (frame.sender, frame.name) == (ME, name)
    first = zip(frame.numbers, frame.messages, strict=True)
    read = [(Kind.DIRECT, number, "", message) for number, message in first]
    assert [*read, *((r.kind, r.number, r.key, r.body) for r in frame.records)] == records


@given(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.binary()))
def test_a_message_keeps_its_type(message: str | bytes) -> None:
    frame = decode(encode_head(ME, "n") + encode_message(Kind.GROUP, message))
    assert frame.records[0].message == message


@given(st.binary(max_size=300))
def test_anything_is_a_frame_or_a_bad_one(data: bytes) -> None:
    try:
        frame = decode(data)
    except BadFrame:
        return
    assert frame.name


GOOD = encode_head(ME, "name") + encode_message(Kind.DIRECT, "text", number=7, key="key")


@pytest.mark.parametrize("length", range(1, len(GOOD)))
def test_a_part_of_a_frame_is_none(length: int) -> None:
    if length == len(encode_head(ME, "name")):
        assert decode(GOOD[:length]).records == ()
        return
    with pytest.raises(BadFrame):
        decode(GOOD[:length])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\2" + GOOD[1:], "version 2"),
        (GOOD[:9] + b"\0\0" + GOOD[11:], "a name of 0"),
        (GOOD[:9] + b"\xff\xff" + GOOD[11:], "a name of 65535"),
        (encode_head(ME, "n") + b"\x63" + bytes(11), "kind 99"),
        (encode_head(ME, "n") + encode(1, 0, 0, "", b"")[:-4] + b"\xff\xff\xff\xff", "within"),
        (GOOD[:11] + b"\xff\xff\xff\xff" + GOOD[15:], "name is not UTF-8"),
        (encode_head(ME, "n") + b"\1\0\0\0\0\0\xff\xff" + bytes(4), "a key of 65535"),
        (encode_head(ME, "n") + b"\1\0\0\0\0\0\0\1\0\0\0\0\xff", "key is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(BadFrame, match=reason):
        decode(data)


def test_a_text_that_is_none_is_refused() -> None:
    frame = decode(encode_head(ME, "n") + encode(Kind.GROUP, 0, 0, "", b"\xff"))
    with pytest.raises(BadFrame, match="UTF-8"):
        _ = frame.records[0].message


def test_names_and_keys_have_limits() -> None:
    encode_head(ME, "n" * LONGEST_NAME)
    encode_record(Kind.GROUP, key="k" * LONGEST_KEY)
    for name in ("", "n" * (LONGEST_NAME + 1)):
        with pytest.raises(ValueError, match="1 to 1024"):
            encode_head(ME, name)
    with pytest.raises(ValueError, match="at most 256"):
        encode_record(Kind.GROUP, key="k" * (LONGEST_KEY + 1))


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode())))
def test_anything_is_a_notice_or_a_bad_one(body: bytes) -> None:
    try:
        _, notice = decode_notice(body, "server")
    except BadFrame:
        return
    assert notice.version >= 0


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"v": -1}',
        b'{"v": true}',
        b'{"v": 1e3}',
        b'{"v": 1, "came": {}}',
        b'{"v": 1, "came": [1]}',
        b'{"v": 1, "came": [[1, "a"]]}',
        b'{"v": 1, "came": [["1", "a", 0]]}',
        b'{"v": 1, "came": [[1, "", 0]]}',
        b'{"v": 1, "went": ["1"]}',
        b'{"v": 1, "went": [true]}',
        b'{"v": 1, "group": ""}',
        b'{"v": 1, "group": 5}',
        b'{"v": 1, "went": [' + b"1," * 300 + b"1]}",
        b'{"v": 1, "came": [[1, "a", "' + b"x" * 9000 + b'"]]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_notice_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_notice(body, "server")


def test_a_notice_comes_out_as_it_went_in() -> None:
    notice = Notice(5, (), (1, 2), hello=True, last=False)
    assert decode_notice(encode_notice(notice, "g"), "s") == ("g", notice)
