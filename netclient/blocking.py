"""The client for plain threads: the asyncio client on a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from netclient.client import Client as AsyncClient
from netclient.dispatcher import Callback
from netclient.errors import ConnectionClosed, NotConnected
from netclient.options import Options
from netclient.state import ClientState
from netwire import Message

T = TypeVar("T")


class _Ended(ConnectionClosed):
    """The client was closed here, and its thread is gone or going."""


class Client:
    """`netclient.Client` without ``async``: the same names, arguments and guarantees.

    Every method may be called from any thread; messages that one thread sends keep their order.
    A call that Ctrl-C interrupts is cancelled. `connect` starts a daemon thread for the event
    loop, and `close` ends it.

    Callbacks are plain functions here. They run on one further thread, in order and one at a
    time, and may call every method; `close` called there does not wait for the end. A callback
    that never returns keeps that thread, and the interpreter's exit waits for it.

    Args:
        url: Whom to talk to.
        options: As for `netclient.Client`, whose docstring explains them.

    Raises:
        TypeError: A callback is ``async``, or there is no such option.
        ValueError: An option is out of range, or ``url`` is not one.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        self._callbacks = ThreadPoolExecutor(1, "netclient-callbacks", self._on_callback_thread)
        self._callback_thread: threading.Thread | None = None  # written once, on that thread
        hooked: Options = {
            **options,
            "on_open": self._hook("on_open", options.get("on_open")),
            "on_message": self._hook("on_message", options.get("on_message")),
            "on_close": self._hook("on_close", options.get("on_close")),
            "on_state": self._hook("on_state", options.get("on_state")),
        }
        self._client = AsyncClient(url, **hooked)
        self._closing = asyncio.Event()  # the loop's thread only
        self._started = threading.Event()
        # Guards the three below: nothing may be handed to a loop that has begun to end.
        self._lock = threading.Lock()
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # To be overridden, or given to the constructor; see `netclient.Client`.

    def on_open(self) -> None: ...

    def on_message(self, message: Message) -> None: ...

    def on_close(self, code: int, reason: str) -> None: ...

    def on_state(self, old: ClientState, new: ClientState) -> None: ...

    # Where it stands.

    @property
    def url(self) -> str:
        """Whom the client talks to."""
        return self._client.url

    @property
    def state(self) -> ClientState:
        """Where the client stands; it may be elsewhere by the time you look at it."""
        return self._client.state

    @property
    def subprotocol(self) -> str | None:
        """What the server chose of the subprotocols offered; None when it chose none."""
        return self._client.subprotocol

    @property
    def close_code(self) -> int | None:
        """The code with which the latest connection ended; None while it has not."""
        return self._client.close_code

    @property
    def close_reason(self) -> str:
        """What was said, or noticed, of that end."""
        return self._client.close_reason

    # Opening and closing.

    def connect(self) -> None:
        """Connect; once in the life of a client. See `netclient.Client.connect`."""
        with self._lock:
            if self._ended or self._thread is not None:
                raise NotConnected(self.url, "a client connects once")
            self._thread = threading.Thread(
                target=self._run, name=f"netclient {self.url}", daemon=True
            )
            self._thread.start()
        try:
            self._started.wait()
            self._call(self._client.connect())
        except BaseException:
            self.close()
            raise

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait until everything has ended; at most about twice ``close_timeout``.

        What was received and not yet taken is dropped with the loop's thread. Closing twice does
        no harm.

        Raises:
            ValueError: The code may not be sent, or the reason is longer than 123 bytes.
        """
        with self._lock:
            thread = self._thread
            if thread is None:
                self._ended = True
                return
        self._started.wait()
        try:
            if threading.current_thread() is self._callback_thread:
                self._call(self._begin_close(code, reason))
                return
            self._call(self._close(code, reason))
        except _Ended:
            # Another thread closes it, too.
            pass
        if threading.current_thread() is not self._callback_thread:
            thread.join()

    def wait_closed(self) -> None:
        """Wait until the client is closed for good. See `netclient.Client.wait_closed`."""
        try:
            self._call(self._client.wait_closed())
        except _Ended:
            return

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Messages.

    def send(self, message: Message) -> None:
        """Send one message. See `netclient.Client.send`."""
        self._call(self._client.send(message))

    def recv(self, timeout: float | None = None) -> Message:
        """The next message. See `netclient.Client.recv`."""
        return self._call(self._client.recv(timeout))

    def ping(self) -> float:
        """Ask the server to answer: the round trip, seconds. See `netclient.Client.ping`."""
        return self._call(self._client.ping())

    def __iter__(self) -> Self:
        """Messages until the client is closed. See `netclient.Client.__aiter__`."""
        return self

    def __next__(self) -> Message:
        try:
            return self._call(self._client.__anext__())
        except (StopAsyncIteration, _Ended):
            raise StopIteration from None

    # The loop's thread.

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        await self._closing.wait()
        with self._lock:
            self._ended = True
        # What was handed over before that line becomes tasks now; the runner cancels those that
        # do not end by themselves, and so nobody waits for a loop that is gone.
        await asyncio.sleep(0)
        self._callbacks.shutdown(wait=False)

    async def _close(self, code: int, reason: str) -> None:
        await self._client.close(code, reason)
        self._closing.set()

    async def _begin_close(self, code: int, reason: str) -> None:
        closing = asyncio.ensure_future(self._close(code, reason))
        # A code that may not be sent is refused in the first step.
        await asyncio.sleep(0)
        if closing.done():
            closing.result()

    # From other threads to it.

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        # Made before anything is handed over: wherever Ctrl-C strikes, there is something to
        # cancel, and nothing left behind that would take the next message.
        future: Future[T] = Future()
        try:
            self._submit(coroutine, future)
            return future.result()
        except CancelledError:
            raise self._ended_error() from None
        except BaseException:
            future.cancel()
            raise

    def _submit(self, coroutine: Coroutine[Any, Any, T], future: Future[T]) -> None:
        with self._lock:
            if self._loop is not None and not self._ended:
                self._loop.call_soon_threadsafe(self._begin, self._loop, coroutine, future)
                return
        coroutine.close()
        if self._ended:
            raise self._ended_error()
        raise NotConnected(self.url, "call connect() first")

    @staticmethod
    def _begin(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], future: Future[T]
    ) -> None:
        """On the loop's thread: run the coroutine for whoever waits for the future."""
        if future.cancelled():
            coroutine.close()
            return
        task = loop.create_task(coroutine)

        def cancel(future: Future[T]) -> None:
            if future.cancelled():
                with suppress(RuntimeError):  # the loop has ended, and the task with it
                    loop.call_soon_threadsafe(task.cancel)

        task.add_done_callback(partial(_settle, future))
        future.add_done_callback(cancel)

    def _ended_error(self) -> _Ended:
        return _Ended(self.url, self.close_code or 1000, self.close_reason)

    def _hook(self, name: str, given: Callback | None) -> Callback | None:
        own: Callback = getattr(self, name)
        overridden = getattr(type(self), name) is not getattr(Client, name)
        function = given or (own if overridden else None)
        if function is None:
            return None
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{name} of a blocking client is a plain function, not async")
        plain: Callable[..., object] = function

        async def call(*arguments: object) -> None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._callbacks, plain, *arguments)

        return call

    def _on_callback_thread(self) -> None:
        self._callback_thread = threading.current_thread()


def _settle(future: Future[T], task: asyncio.Task[T]) -> None:
    """Tell whoever waits how the task ended."""
    error = None if task.cancelled() else task.exception()
    with suppress(InvalidStateError):  # nobody waits any more
        if task.cancelled():
            future.cancel()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())
