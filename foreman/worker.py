"""What runs on a node: anything that declares how long it may be kept waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import frozen

from foreman.errors import NotRunning
from foreman.latency import DeclaredLatency, check_latency
from foreman.mailbox import Mailbox, mailbox_of
from foreman.meters import HoldMeter, HoldStatistics, WaitStatistics

if TYPE_CHECKING:
    from foreman.foreman import Foreman
    from foreman.node import Node
    from foreman.seat import Seat

logger = logging.getLogger(__name__)

# Guards whether a worker has a Foreman, and what it declares while it has none.
_joining = Lock()


@frozen(kw_only=True)
class WorkerStatistics:
    """What one worker has cost and how it was served.

    Attributes:
        holds: How long it kept its node.
        waits: How long its present node has kept workers of its declared latency waiting; of a
            `ScanWorker`, how late its own scans began.
        errors: Callbacks of it that raised.
    """

    holds: HoldStatistics
    waits: WaitStatistics
    errors: int


def check_worker(worker: object) -> None:
    """See that this is a worker, and a whole one.

    Raises:
        TypeError: It is none; says what to do.
    """
    if isinstance(worker, type) and issubclass(worker, Worker):
        name = worker.__name__
        raise TypeError(f"{name} is a class; make a worker of it first, as in {name}()")
    if not isinstance(worker, Worker):
        raise TypeError(f"a worker is an instance of a subclass of Worker, not {worker!r}")
    if not hasattr(worker, "holds"):
        raise TypeError(f"{type(worker).__name__}.__init__ must call super().__init__()")


class Worker:
    """Something that is run by a node and declares the latency it needs.

    Its hooks and everything handed to `call_soon` run on its node's thread, one at a time: they
    never run concurrently with each other, wherever the worker moves. Hooks of different workers
    do run concurrently.

    Attributes:
        required_latency: The longest it may wait, once ready, before its node serves it, seconds.
            Set in a class's body it gives the default; set on an instance, at any time and from
            any thread, it places the worker anew, or raises `Infeasible` and leaves all as it was.
            Who asks for no more than before is never refused.
            It is kept, and what is missed is counted and told, in steps: rounded down to 1, 1.2,
            1.5, 2, 2.5, 3, 4, 5, 6 or 8 times a power of ten. (What a `ScanWorker` misses is
            counted against what it declared.)
        expected_hold: The longest one of this class is thought to keep its node, seconds; it
            counts until one has been measured. None to let the policy assume something.
    """

    __slots__ = (
        "__weakref__",
        "_errors",
        "_foreman",
        "_home",
        "_mailbox",
        "_required_latency",
        "_seat",
        "holds",
    )

    if TYPE_CHECKING:
        required_latency: float
    else:
        required_latency = DeclaredLatency()
    expected_hold: ClassVar[float | None] = None

    _default_latency: ClassVar[float] = 1.0

    def __init_subclass__(cls, **options: Any) -> None:
        # ``required_latency = 0.01`` in a class body gives the default; the descriptor stays.
        super().__init_subclass__(**options)
        if "required_latency" in cls.__dict__:
            cls._default_latency = check_latency(cls.__dict__["required_latency"])
            del cls.required_latency

    def __init__(self) -> None:
        self._required_latency = self._default_latency
        self._errors = 0
        self._foreman: Foreman | None = None  # guarded by the Foreman's lock and `_joining`
        self._seat: Seat | None = None  # guarded by the Foreman's lock
        self._home: Node | None = None  # where it is attached; written by that node's thread
        self._mailbox: Mailbox | None = None
        self.holds = HoldMeter()

    @property
    def node(self) -> Node | None:
        """The node it runs on, or is on its way to; None before it is added and after it left."""
        seat = self._seat
        return None if seat is None else seat.node

    @property
    def movable(self) -> bool:
        """Whether it can leave its node now. Read on its node's thread."""
        return True

    def on_start(self) -> None:
        """It runs now: called once, before anything else."""

    def on_stop(self) -> None:
        """It was removed: called once, after everything else."""

    async def detach(self) -> None:
        """Let go of the node's loop, because it is about to leave it; may wait for a good moment.

        Raising `NotMovable` keeps it where it is. So does taking longer than the Foreman's
        `move_timeout`: this is cancelled then, and has to leave everything as it was; it is asked
        again after half a minute at the earliest. If it swallows that and has let go in a quarter
        of that time more, the worker moves all the same; if it has not, it is closed where it
        stands (`GeneratorExit`), which is logged. Nothing of it runs any more then, and the worker
        stays.
        """

    async def attach(self, node: Node) -> None:
        """Take up work on this node's loop, for the first time or after a move.

        If it raises, or takes longer than the Foreman's `move_timeout` and is ended as `detach`
        is, the worker is told so by `on_error`, stopped if it had started, and removed.
        """

    def on_error(self, error: BaseException) -> object:
        """A callback of this worker raised; it was logged and counted, and the worker goes on."""
        return None

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` on this worker's node, in the order of the calls of each thread.

        May be called from any thread. While the worker moves, the call waits and follows it.

        Raises:
            NotRunning: The worker was never added, or was removed.
        """
        if self._foreman is None:
            raise NotRunning(f"{self!r} was not added to a Foreman")
        self._post(function, args)

    def statistics(self) -> WorkerStatistics:
        """What it cost and how it was served so far. May be called from any thread."""
        return WorkerStatistics(
            holds=self.holds.statistics(), waits=self._waits(), errors=self._errors
        )

    def _arrived(self, node: Node) -> None:
        """It runs on this node from now on. On the node's thread."""

    def _left(self) -> None:
        """It was removed, or never got to its node, which may have ended: it runs nowhere now."""

    def _moved(self, old: Node, new: Node) -> None:
        """It ran on another node before. On the new node's thread."""

    def _declare(self, seconds: float) -> None:
        with _joining:
            foreman = self._foreman
            if foreman is None:
                self._required_latency = seconds
        if foreman is not None:
            foreman.require(self, seconds)

    def _join(self, foreman: Foreman) -> float | None:
        """Have a Foreman from now on; returns what it declares, or None when it has one already.

        Whoever declares something else from here on waits until it is placed.
        """
        with _joining:
            if self._foreman is not None:
                return None
            self._foreman = foreman
            return self._required_latency

    def _waits(self) -> WaitStatistics:
        home = self._home
        if home is None:
            return WaitStatistics(count=0, mean=0.0, worst=0.0, misses=0)
        return home.waits_of(self._required_latency)

    def _post(
        self,
        function: Callable[..., object],
        args: tuple[Any, ...],
        size: int = 0,
        limit: int | None = None,
    ) -> bool:
        """Hand a call over; False when that would pass ``limit`` bytes waiting."""
        wake = mailbox_of(self).put((function, args), size, limit)
        if wake:
            # None while it moves: it looks into its mailbox when it arrives.
            home = self._home
            if home is not None:
                home.delivery.wake(self)
        return wake is not None

    def _deliver(self) -> None:
        """Run what waits in the mailbox. On the node's thread only."""
        if self._mailbox is None:
            return
        for function, args in self._mailbox.take():
            try:
                if args is None:
                    function(self)
                else:
                    function(*args)
            except BaseException as error:  # as in Node.run
                self._fail(error)

    def _log(self, error: BaseException) -> None:
        logger.error("%r raised", self, exc_info=error)

    def _fail(self, error: BaseException) -> None:
        """A callback of this worker raised. On the node's thread only."""
        self._errors += 1
        self._log(error)
        try:
            self.on_error(error)
        except BaseException:
            logger.exception("%r raised in on_error", self)
