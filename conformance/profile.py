"""What both ends are told for the suite; production's limits are stricter and have tests of their
own."""

from __future__ import annotations

from netwire import Deflate, Limits

LIMITS = Limits(message=16 * 1024 * 1024, fragments=65_537)  # the largest of 9.1 to 9.4

# A message that is echoed whole must fit, and the suite, which is slow, may take its time.
SEND_LIMIT = 64 * 1024 * 1024
PATIENCE = 120.0  # seconds

# All that can be agreed upon, so that it is tried: every message compressed, with reference to
# those before it. Over TLS the server compresses as by default, each message by itself.
COMPRESSION = Deflate(
    threshold=1,
    server_context=True,
    client_context=True,
    server_window_bits=15,
    client_window_bits=15,
)
