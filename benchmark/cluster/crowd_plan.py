"""What the crowd is asked to do and what it answers."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class CrowdPlan:
    """Clients that lose their server.

    Args:
        first: Where all of them connect.
        second: Where they connect when that is gone.
        prober: Who is asked to send to identities and groups.
        clients: How many.
        groups: Over how many groups they are spread.
        seconds: The longest to wait until all are served again.
    """

    first: str
    second: str
    prober: str
    clients: int
    groups: int
    seconds: float


@frozen(kw_only=True)
class Return:
    """How the crowd came back. Times are of `time.monotonic`, seconds.

    Args:
        lost: When the first noticed that the server was gone.
        opened: When the last of those that came back was connected; and so on for the next ones.
        echoed: When it had its echo back.
        reached: When it got what was sent to its identity.
        grouped: When it got what was sent to its group.
        served: How many had all of that.
        refused: Attempts to connect that failed.
    """

    lost: float
    opened: float
    echoed: float
    reached: float
    grouped: float
    served: int
    refused: int
