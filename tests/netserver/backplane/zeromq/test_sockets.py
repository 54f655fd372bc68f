"""What ZeroMQ's sockets do as they are set up here."""

from __future__ import annotations

import subprocess
import sys
import time

import zmq

from netserver.backplane.zeromq import sockets
from netserver.backplane.zeromq.wire import NO_KEY

IP = "127.0.0.1"
MANY = 1000  # more than is read ahead


def lose_the_connection_while_behind() -> None:
    """As after a process was frozen: all has come, nothing was read, and the peer has gone."""
    context = sockets.make_context()
    router = sockets.make_router(context, None, IP)
    port = router.bind_to_random_port(f"tcp://{IP}")
    dealer = sockets.make_dealer(context, None, NO_KEY, IP, 1024)
    dealer.connect(sockets.endpoint(IP, port))
    dealer.send(b"hello")
    peer, _ = router.recv_multipart()
    for number in range(MANY):
        router.send_multipart((peer, b"%d" % number))
    dealer.poll()
    router.close(linger=10_000)
    # What libzmq does by a timer of its own, if it does: two of its beats, so that the first is
    # answered with a reset.
    ends = time.monotonic() + 2.5
    while time.monotonic() < ends:
        dealer.send(b"beat", zmq.NOBLOCK)
        time.sleep(0.1)
    print(dealer.recv().decode())
    context.destroy(linger=0)


def test_a_connection_that_breaks_while_much_is_unread_ends_no_process() -> None:
    code = f"from {__name__} import *; lose_the_connection_while_behind()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
