"""The embedded Kafka to its clients: confluent-kafka as the collector uses it, aiokafka as the aggregator does."""

import asyncio
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka import Consumer, Message, Producer

from standalone.kafka import create_topics
from standalone.processes import python_module
from standalone.servers import embedded_kafka
from standalone.settings import child_environment
from tests.deadline import Eventually


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with embedded_kafka() as address:
        yield address


@pytest.fixture
def topic(bootstrap: str) -> str:
    name = f"topic-{uuid.uuid4()}"
    create_topics(bootstrap, [name])
    return name


def idempotent_producer(bootstrap: str) -> Producer:
    return Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "compression.type": "zstd"}
    )


def read(bootstrap: str, topic: str, count: int, *, eventually: Eventually) -> list[Message]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    messages: list[Message] = []

    def is_enough() -> bool:
        messages.extend(consumer.consume(count, timeout=0.1))
        return len(messages) >= count

    try:
        eventually(is_enough, within_seconds=30)
    finally:
        consumer.close()
    return messages


def test_a_topic_comes_into_being_with_four_partitions_when_it_is_asked_for(bootstrap: str, topic: str) -> None:
    partitions = Producer({"bootstrap.servers": bootstrap}).list_topics(topic, timeout=10).topics[topic].partitions
    assert sorted(partitions) == [0, 1, 2, 3]


def test_messages_of_a_key_come_back_in_order_with_headers(bootstrap: str, topic: str, eventually: Eventually) -> None:
    producer = idempotent_producer(bootstrap)
    for number in range(1000):
        producer.produce(topic, str(number).encode(), key=b"node-1", headers={"schema": b"flows/1"})
    assert producer.flush(30) == 0
    messages = read(bootstrap, topic, 1000, eventually=eventually)
    assert [int(message.value() or b"") for message in messages] == list(range(1000))
    assert {message.partition() for message in messages} == {messages[0].partition()}
    assert messages[0].headers() == [("schema", b"flows/1")]


def test_a_message_of_a_megabyte_passes(bootstrap: str, topic: str, eventually: Eventually) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 4 << 20})
    producer.produce(topic, bytes(900_000))
    assert producer.flush(30) == 0
    assert len(read(bootstrap, topic, 1, eventually=eventually)[0].value() or b"") == 900_000


def test_aiokafka_reads_zstd_and_commits_offset_and_metadata(bootstrap: str, topic: str) -> None:
    async def scenario() -> tuple[list[bytes | None], int, str]:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="zstd")
        await producer.start()
        for number in range(10):
            await producer.send_and_wait(topic, b"%d" % number, partition=2)
        await producer.stop()
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=topic, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        values = [(await asyncio.wait_for(consumer.getone(), 30)).value for _ in range(10)]
        partition = TopicPartition(topic, 2)
        await consumer.commit({partition: OffsetAndMetadata(4, "last 9")})
        coordinator = consumer._coordinator  # noqa: SLF001 - only there is the metadata
        committed = (await coordinator.fetch_committed_offsets([partition]))[partition]
        await consumer.stop()
        return values, committed.offset, committed.metadata

    values, offset, metadata = asyncio.run(scenario())
    assert values == [b"%d" % number for number in range(10)]
    assert (offset, metadata) == (4, "last 9")


def test_a_taken_port_is_refused_with_one_message_that_names_it(bootstrap: str) -> None:
    command = python_module("standalone", "kafka", "--listen", bootstrap)
    done = subprocess.run(command, env=child_environment({}), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"kafka: cannot listen on {bootstrap}: Address already in use. End the program")
    assert len(done.stderr.splitlines()) == 1
