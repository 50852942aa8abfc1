"""Topics to Python: the one file of the command that knows confluent_kafka."""

import json
from collections.abc import Iterator
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from cli.complaint import Complaint
from schemas import topics


def read_inventories(bootstrap: str) -> list[dict[str, object]]:
    """The newest inventory of every node: what its collector watches. Raises: Complaint when Kafka does not answer."""
    consumer = _consumer(bootstrap)
    newest: dict[bytes, dict[str, object]] = {}
    try:
        partitions = _assign(consumer, topics.COLLECTORS, offset=OFFSET_BEGINNING)
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=5) for p in partitions}
        left = {number for number, (low, high) in ends.items() if high > low}
        while left:
            message = consumer.poll(5)
            if message is None:
                raise Complaint(f"Kafka at {bootstrap} stopped answering in the middle of {topics.COLLECTORS}")
            key, value, number, offset = message.key(), message.value(), message.partition(), message.offset()
            if key is None or value is None or number is None or offset is None:
                continue
            newest[key] = json.loads(value)
            if offset + 1 >= ends[number][1]:
                left.discard(number)
    except KafkaException as error:
        raise _unreachable(bootstrap, error) from error
    finally:
        consumer.close()
    return [newest[key] for key in sorted(newest)]


def follow(bootstrap: str, topic: str) -> Iterator[bytes]:
    """Message values of a topic from now on, for ever. Raises: Complaint when Kafka does not answer."""
    consumer = _consumer(bootstrap)
    try:
        _assign(consumer, topic, offset=OFFSET_END)
        while True:
            message = consumer.poll(1)
            value = message.value() if message is not None and not message.error() else None
            if value is not None:
                yield value
    except KafkaException as error:
        raise _unreachable(bootstrap, error) from error
    finally:
        consumer.close()


def _consumer(bootstrap: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"kubenetinsight-cli-{uuid4()}",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )


def _assign(consumer: Consumer, topic: str, *, offset: int) -> list[TopicPartition]:
    metadata = consumer.list_topics(topic, timeout=5)
    partitions = [TopicPartition(topic, number, offset) for number in metadata.topics[topic].partitions]
    consumer.assign(partitions)
    return partitions


def _unreachable(bootstrap: str, error: KafkaException) -> Complaint:
    return Complaint(
        f"Kafka does not answer at {bootstrap} ({error.args[0].str()}): is it running? KNI_KAFKA says where it is"
    )
