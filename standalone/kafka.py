"""Nothing to a Kafka cluster on the loopback: librdkafka's in-process broker behind a fixed bootstrap address.

The broker keeps everything in memory and about 5 MB per partition, then forgets the oldest: it carries traffic between
programs and does not store it. It listens on a port of its own choice and says so in its metadata, so only a client's
first connection goes through the forwarder. Every topic has 4 partitions and comes into being when a client asks for
its metadata.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from standalone.address import Address, UsageError

if TYPE_CHECKING:
    import socket
    from collections.abc import Container, Iterable

FORWARD_BYTES = 1 << 16
METADATA_SECONDS = 10.0


class MockCluster:
    """A one-broker cluster that lives exactly as long as this object."""

    def __init__(self) -> None:
        self._owner = Producer(
            {"test.mock.num.brokers": 1, "bootstrap.servers": "replaced-by-the-mock", "log_level": 4}
        )
        (broker,) = self._owner.list_topics(timeout=METADATA_SECONDS).brokers.values()
        self.address = Address(broker.host, broker.port)


def create_topics(bootstrap: str, topics: Iterable[str]) -> None:
    """Make sure that the topics exist on an embedded Kafka: it creates what it is asked about.

    Raises:
        KafkaException: when it does not answer.
    """
    client = Producer({"bootstrap.servers": bootstrap, "allow.auto.create.topics": True})
    for topic in topics:
        error: KafkaError | None = client.list_topics(topic, timeout=METADATA_SECONDS).topics[topic].error
        if error is not None:
            raise KafkaException(error)


def create_topics_on_a_server(bootstrap: str, topics: Iterable[str], *, compacted: Container[str]) -> None:
    """Create what is missing on a Kafka that others run; what is there stays as it is.

    Raises:
        UsageError: when it does not answer or refuses.
    """
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wanted = [
        NewTopic(topic, config={"cleanup.policy": "compact" if topic in compacted else "delete"}) for topic in topics
    ]
    for topic, created in client.create_topics(wanted, request_timeout=METADATA_SECONDS).items():
        try:
            created.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise UsageError(
                    f"Kafka at {bootstrap} does not create the topic {topic}: {error.args[0].str()}. "
                    "Check that it runs and that --kafka names its address"
                ) from error


async def forward(listener: socket.socket, target: Address, *, stop: asyncio.Event) -> None:
    """Join each connection to the listener with one to the target, until `stop` is set."""

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(target.host, target.port)
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, far_writer))
            both.create_task(_copy(far_reader, writer))

    server = await asyncio.start_server(join, sock=listener)
    try:
        await stop.wait()
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes from one connection to another until the first ends; the end is passed on."""
    try:
        while piece := await reader.read(FORWARD_BYTES):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
