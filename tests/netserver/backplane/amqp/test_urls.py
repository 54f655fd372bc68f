"""What an ``amqp://`` URL may say, and what is told when it may not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netserver.backplane import BackplaneUrlError, make_backplane


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("amqp://", "names no host"),
        ("amqp://host:x", "is none"),
        ("amqp://host:70000", "is none"),
        ("amqp://one,two:x", "is none"),
        ("amqp://one,user:word@two", "behind the first"),
        ("amqp://host?exchange=x&exchange=y", "twice"),
        ("amqp://host?durable=1", "not known: durable"),
        ("amqp://host?heartbeat=0", "1 to 60"),
        ("amqp://host?heartbeat=often", "heartbeat=often"),
        ("amqp://host?exchange=", "1 to 127"),
        ("amqp://host?exchange=amq.direct", "amq"),
        ("amqp://host/" + "v" * 128, "127 bytes"),
        ("amqp://host?ca=ca.pem", "need amqps://"),
        ("amqps://host?ca=/nowhere/ca.pem", "certificate that fails"),
        ("amqps://host?cert=/nowhere/cert.pem", "certificate that fails"),
    ],
)
def test_a_url_that_is_not_understood(url: str, reason: str) -> None:
    with pytest.raises(BackplaneUrlError, match=reason):
        make_backplane(url)


def test_a_missing_library_is_named_with_the_extra_that_brings_it() -> None:
    script = (
        "import sys; sys.modules['pamqp'] = None\n"
        "from netserver.backplane import MissingEngine, make_backplane\n"
        "try: make_backplane('amqp://host')\n"
        "except MissingEngine as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "amqp:// needs an extra: pip install 'foreman-server[amqp]'"
