"""What can go wrong between servers.

BackplaneError (ServerError)
├── BackplaneUrlError (ValueError)  a URL or an option of it that is not understood
├── MissingEngine (ImportError)     the engine's library is not installed
├── SubjectError (ValueError)       a subject that cannot be one
├── PayloadTooLarge (ValueError)    a message that the engine does not carry
├── JournalError                    what keeps history refuses, or is not there
├── BrokerRefuses                   the broker will not have us, however often we ask
└── LinkDown (ConnectionError)      there is no link to the broker at the moment
"""

from __future__ import annotations

from typing import ClassVar

from netserver.errors import ServerError


class BackplaneError(ServerError):
    """Base of what goes wrong between servers."""


class BackplaneUrlError(BackplaneError, ValueError):
    """A URL that names no backplane, or with options that it does not have.

    Attributes:
        url: As it was given, without its password.
        reason: What is wrong with it.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url} {self.reason}"


class MissingEngine(BackplaneError, ImportError):
    """The library that speaks to a broker is not installed.

    Attributes:
        scheme: The scheme of the URL.
        extra: What to install.
    """

    def __init__(self, scheme: str, extra: str) -> None:
        super().__init__(scheme, extra)
        self.scheme = scheme
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.scheme}:// needs an extra: pip install 'foreman-server[{self.extra}]'"


class SubjectError(BackplaneError, ValueError):
    """A subject that cannot be one.

    Attributes:
        subject: The subject.
        reason: What is wrong with it.
    """

    def __init__(self, subject: object, reason: str) -> None:
        super().__init__(subject, reason)
        self.subject = subject
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.subject!r} is no subject: one {self.reason}"


class PayloadTooLarge(BackplaneError, ValueError):
    """A message that the engine does not carry.

    Attributes:
        size: Its bytes.
        most: What it carries.
    """

    def __init__(self, size: int, most: int) -> None:
        super().__init__(size, most)
        self.size = size
        self.most = most

    def __str__(self) -> str:
        return f"{self.size} bytes are more than the {self.most} that the backplane carries"


class _Told(BackplaneError):
    """One that the broker, or the link to it, gives the reason for.

    Attributes:
        reason: What it said.
    """

    _what: ClassVar[str]

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self._what}: {self.reason}"


class LinkDown(_Told, ConnectionError):
    """There is no link to the broker, or to any peer, at the moment.

    Attributes:
        reason: Why.
    """

    _what = "the backplane's link is down"


class BrokerRefuses(_Told):
    """The broker will not have us, however often we ask: wrong credentials, rights that we lack.

    Attributes:
        reason: What it said.
    """

    _what = "the broker refuses"


class JournalError(_Told):
    """What keeps history refuses to, or is not there.

    Attributes:
        reason: What it said.
    """

    _what = "the journal cannot be used"
