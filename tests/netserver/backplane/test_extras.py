"""An engine whose library is not installed is named with the extra that brings it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(["pamqp", "nats", "nkeys", "zmq"]))
from netserver.backplane import MissingEngine, make_backplane
for url in "zmq://127.0.0.1:0", "amqp://host", "amqps://host", "nats://host":
    try:
        make_backplane(url)
    except MissingEngine as error:
        print(error)
"""


def test_a_missing_library_is_named_with_the_extra_that_brings_it() -> None:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30
    )
    assert said.stdout.splitlines() == [
        "zmq:// needs an extra: pip install 'foreman-server[zmq]'",
        "amqp:// needs an extra: pip install 'foreman-server[amqp]'",
        "amqps:// needs an extra: pip install 'foreman-server[amqp]'",
        "nats:// needs an extra: pip install 'foreman-server[nats]'",
    ], said.stderr
