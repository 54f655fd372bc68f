"""What is kept for a peer that does not read: bytes, and how many at most."""

from __future__ import annotations

from netserver.backplane.zeromq import wire
from netserver.backplane.zeromq.outbox import DROP_AT, FRAME_COST, PAUSE_AT, Outbox


def test_records_are_joined_and_counted() -> None:
    outbox = Outbox()
    assert outbox.take() is None
    records = [wire.record("s", b"%d" % number) for number in range(3)]
    assert [outbox.put(each) for each in records] == [False] * 3
    frame = outbox.take()
    assert frame is not None
    assert [payload for _, payload in wire.read_data(frame)] == [b"0", b"1", b"2"]
    assert outbox.held == len(frame) + FRAME_COST
    outbox.acknowledge(outbox.held)
    assert outbox.held == 0


def test_a_chunk_is_sent_when_it_is_full() -> None:
    outbox = Outbox()
    assert outbox.put(bytes(wire.CHUNK))
    assert outbox.take() is not None


def test_what_does_not_fit_is_dropped_whatever_its_size() -> None:
    for size in (1, 128, 65_536, 1024 * 1024):
        outbox = Outbox()
        for number in range(DROP_AT):
            if outbox.put(bytes(size)) or number % 7 == 0:
                outbox.take()
            if outbox.dropped:
                break
        assert outbox.dropped == 1
        assert PAUSE_AT < outbox.held <= DROP_AT + FRAME_COST


def test_one_that_was_waited_for_in_vain_is_waited_for_again_when_it_has_caught_up() -> None:
    outbox = Outbox()
    while not outbox.crowded:
        outbox.put(bytes(wire.CHUNK))
        outbox.take()
    outbox.stalled = True
    assert not outbox.crowded
    outbox.acknowledge(wire.CHUNK)
    assert outbox.stalled
    outbox.acknowledge(wire.CHUNK + outbox.held)
    assert not outbox.stalled


def test_an_acknowledgement_that_cannot_be_is_ignored() -> None:
    outbox = Outbox()
    outbox.put(bytes(1000))
    outbox.take()
    held = outbox.held
    outbox.acknowledge(held + 1)
    outbox.acknowledge(2**64 - 1)
    assert outbox.held == held
    outbox.acknowledge(500)
    outbox.acknowledge(400)
    assert outbox.held == held - 500


def test_answers_that_are_never_read_are_too_much_some_time() -> None:
    outbox = Outbox()
    answer = wire.ack(1)
    assert not all(outbox.count(answer) for _ in range(2 * DROP_AT // FRAME_COST))
