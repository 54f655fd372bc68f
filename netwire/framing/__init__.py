"""Messages in a plain byte stream: ways to mark where one ends.

Subclass `Framing` for one of your own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from netwire.framing.base import Framing
from netwire.framing.envelope import Envelope
from netwire.framing.length_prefix import LengthPrefix
from netwire.framing.lines import Lines
from netwire.framing.raw import Raw

FRAMINGS: Mapping[str, type[Framing]] = MappingProxyType(
    {"envelope": Envelope, "length-prefix": LengthPrefix, "lines": Lines, "raw": Raw}
)
"""The framings that may be asked for by name."""

__all__ = ["FRAMINGS", "Envelope", "Framing", "LengthPrefix", "Lines", "Raw"]
