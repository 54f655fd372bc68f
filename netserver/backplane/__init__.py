"""What carries messages between servers: one interface, an engine for each kind of broker."""

from __future__ import annotations

from importlib import import_module

from netserver.backplane.base import Backplane, LinkState, check_subject
from netserver.backplane.errors import (
    BackplaneError,
    BackplaneUrlError,
    BrokerRefuses,
    JournalError,
    LinkDown,
    MissingEngine,
    PayloadTooLarge,
    SubjectError,
)
from netserver.backplane.journal import Journal, Page, Record
from netserver.backplane.url import BackplaneUrl

__all__ = [
    "Backplane",
    "BackplaneError",
    "BackplaneUrlError",
    "BrokerRefuses",
    "Journal",
    "JournalError",
    "LinkDown",
    "LinkState",
    "MissingEngine",
    "Page",
    "PayloadTooLarge",
    "Record",
    "SubjectError",
    "check_subject",
    "make_backplane",
]

# By the URL's scheme: the module and class of the engine, the library that it needs, and the
# extra that installs it.
_ENGINES: dict[str, tuple[str, str, str, str]] = {
    "memory": ("netserver.backplane.memory", "MemoryBackplane", "", ""),
    "zmq": ("netserver.backplane.zeromq.engine", "ZmqBackplane", "zmq", "zmq"),
    "amqp": ("netserver.backplane.amqp.engine", "AmqpBackplane", "pamqp", "amqp"),
    "amqps": ("netserver.backplane.amqp.engine", "AmqpBackplane", "pamqp", "amqp"),
    "nats": ("netserver.backplane.nats.engine", "NatsBackplane", "nats", "nats"),
    "tls+nats": ("netserver.backplane.nats.engine", "NatsBackplane", "nats", "nats"),
}


def make_backplane(url: str) -> Backplane:
    """The backplane that a URL chooses; it connects when it is started.

    Args:
        url: ``memory://``, ``zmq://``, ``amqp://``, ``amqps://``, ``nats://`` or ``tls+nats://``,
            and what each of them takes.

    Raises:
        BackplaneUrlError: It is none of these, or has options that are not understood.
        MissingEngine: The library for it is not installed.
    """
    parsed = BackplaneUrl.parse(url)
    if parsed.scheme not in _ENGINES:
        known = ", ".join(f"{scheme}://" for scheme in _ENGINES)
        raise BackplaneUrlError(parsed.shown, f"is none of {known}")
    module, name, library, extra = _ENGINES[parsed.scheme]
    try:
        engine = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if not library or (error.name or "").partition(".")[0] not in (library, "nkeys"):
            raise
        raise MissingEngine(parsed.scheme, extra) from error
    backplane = engine(parsed)
    assert isinstance(backplane, Backplane)
    return backplane
