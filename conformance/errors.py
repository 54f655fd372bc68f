"""What can keep the suite from running; a case that fails is no error but a finding.

ConformanceError
├── NoPython27          there is no interpreter for the suite
├── InstallFailed       it could not be installed
├── NoSuchCase          nothing fits what was asked for
└── RunFailed           it, or what is under test, broke off or fell silent
"""

from __future__ import annotations


class ConformanceError(Exception):
    """The suite cannot be run, or not brought to its end; the message says why."""


class NoPython27(ConformanceError):
    """There is no Python 2.7 that runs."""


class InstallFailed(ConformanceError):
    """The suite could not be installed."""


class NoSuchCase(ConformanceError):
    """A pattern fits none of the suite's cases."""


class RunFailed(ConformanceError):
    """A run broke off: a program ended or fell silent."""
