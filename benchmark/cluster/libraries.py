"""The client libraries by themselves, each publishing and subscribing as its manual shows.

At most once, as our engines: no acknowledgements, no confirms, nothing durable. A subject for each
client, as a server of ours has. The libraries are imported when they are used.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

Receive = Callable[[int, bytes], Awaitable[None]]


class Library(ABC):
    """One of two sides, each of which hears what the other one publishes. Its loop's.

    Args:
        where: Where the broker is, or, without one, the two sides' ports.
        side: 0 or 1.
        count: Subjects that each side subscribes to, numbered from 0.
        receive: Awaited with each message and its subject's number.
    """

    def __init__(self, where: str, side: int, count: int, receive: Receive) -> None:
        self.where, self.side, self.receive = where, side, receive
        self.own = [f"bare.{side}.{number:06}" for number in range(count)]
        self.others = [f"bare.{1 - side}.{number:06}" for number in range(count)]

    @abstractmethod
    async def start(self) -> None:
        """Connect, and subscribe to the own subjects in order."""

    @abstractmethod
    async def publish(self, number: int, payload: bytes) -> None:
        """Publish on one of the other side's subjects."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect."""


class Nats(Library):
    """nats-py."""

    async def start(self) -> None:
        import nats

        self._client = await nats.connect(self.where)
        for number, subject in enumerate(self.own):
            await self._client.subscribe(subject, cb=partial(self._arrive, number))
        await self._client.flush()

    async def _arrive(self, number: int, message: Any) -> None:
        await self.receive(number, message.data)

    async def publish(self, number: int, payload: bytes) -> None:
        await self._client.publish(self.others[number], payload)

    async def close(self) -> None:
        await self._client.close()


class AioPika(Library):
    """aio-pika: one direct exchange, a queue for each side, bound by its subjects."""

    async def start(self) -> None:
        import aio_pika

        self._message = aio_pika.Message
        self._connection = await aio_pika.connect(self.where)
        channel = await self._connection.channel(publisher_confirms=False)
        self._exchange = await channel.declare_exchange("benchmark-bare", auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        for subject in self.own:
            await queue.bind(self._exchange, subject)
        self._numbers = {subject: number for number, subject in enumerate(self.own)}
        await queue.consume(self._arrive, no_ack=True)

    async def _arrive(self, message: Any) -> None:
        await self.receive(self._numbers[message.routing_key], message.body)

    async def publish(self, number: int, payload: bytes) -> None:
        await self._exchange.publish(self._message(payload), self.others[number], mandatory=False)

    async def close(self) -> None:
        await self._connection.close()


class PyZmq(Library):
    """pyzmq's asyncio sockets: each side publishes on its port, and subscribes at the other's."""

    async def start(self) -> None:
        import zmq
        import zmq.asyncio

        ports = self.where.split(",")
        self._context = zmq.asyncio.Context()
        self._publisher = self._context.socket(zmq.PUB)
        self._publisher.set_hwm(0)
        self._publisher.bind(f"tcp://127.0.0.1:{ports[self.side]}")
        self._subscriber = self._context.socket(zmq.SUB)
        self._subscriber.set_hwm(0)
        self._subscriber.connect(f"tcp://127.0.0.1:{ports[1 - self.side]}")
        for subject in self.own:
            self._subscriber.subscribe(subject)
        self._numbers = {subject.encode(): number for number, subject in enumerate(self.own)}
        self._subjects = [subject.encode() for subject in self.others]
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        while True:
            subject, payload = await self._subscriber.recv_multipart()
            await self.receive(self._numbers[subject], payload)

    async def publish(self, number: int, payload: bytes) -> None:
        await self._publisher.send_multipart([self._subjects[number], payload])

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._context.destroy(linger=0)


LIBRARIES: dict[str, type[Library]] = {"zmq": PyZmq, "amqp": AioPika, "nats": Nats}
