"""The kill test's server, which tells everybody's second message once more instead of the third."""

from __future__ import annotations

from benchmark.kill import site
from netserver import Entry


def stamp(entry: Entry) -> str:
    """What members are sent of a message."""
    kind, epoch, offset, name, number, text = site.stamp(entry).split(" ")
    return " ".join((kind, epoch, offset, name, "2" if number == "3" else number, text))


if __name__ == "__main__":
    site.main(stamp)
