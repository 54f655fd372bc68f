"""Connections of one node take turns, however much each of them has to say."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from typing import Any

from netserver import Connection, Server

MESSAGES = 150
SIZE = 100_000


def test_a_connection_with_much_to_say_does_not_keep_the_others_waiting() -> None:
    served: list[int] = []
    done = threading.Event()

    class Slow(Connection):
        def on_message(self, message: Any) -> None:
            served.append(self.id)
            time.sleep(0.001)  # the peer sends faster than that, so there is always more to read
            if len(served) == 2 * MESSAGES:
                done.set()

    with Server() as server:
        listener = server.listen("tcp://127.0.0.1:0", Slow)
        peers = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(2)]
        data = b"6%06d" % SIZE + bytes(SIZE)
        senders = [threading.Thread(target=peer.sendall, args=(data * MESSAGES,)) for peer in peers]
        for sender in senders:
            sender.start()
        assert done.wait(30)
        for sender, peer in zip(senders, peers, strict=True):
            sender.join()
            peer.close()

    # Both send at once from the first to the last quarter or so; one read is three messages.
    middle = served[MESSAGES // 2 : -MESSAGES // 2]
    assert max(len(list(run)) for _, run in itertools.groupby(middle)) <= 12
