"""What both ends are told for the suite; production's limits are stricter and have tests of their
own."""

from __future__ import annotations

from netwire import Limits

LIMITS = Limits(message=16 * 1024 * 1024, fragments=65_537)  # the largest of 9.1 to 9.4

# A message that is echoed whole must fit, and the suite, which is slow, may take its time.
SEND_LIMIT = 64 * 1024 * 1024
PATIENCE = 120.0  # seconds
