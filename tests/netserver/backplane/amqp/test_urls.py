"""What an ``amqp://`` URL may say, and what is told when it may not."""

from __future__ import annotations

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
