"""Aggregator to Kafka, beside the stream: topics' ids, the inventory topic, what it publishes itself.

The one file that knows confluent-kafka.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ANSWER_SECONDS: Final = 5.0
WAIT_SECONDS: Final = 0.5
EMBEDDED_CLUSTER: Final = "mockCluster"
"""The in-process cluster's id begins so; it keeps no topic ids, and does not answer when asked for them."""
INCARNATION: Final = "kubenetinsight.incarnation"
"""Its first message stands for the id of every topic where the cluster keeps none."""
LONGEST_DEAD_LETTER: Final = 1_000_000
"""What a broker takes by default."""


class KafkaUnavailableError(Exception):
    """Kafka did not answer, or refused."""


class DeadLetter(NamedTuple):
    """A message that could not be read, and why."""

    value: bytes
    reason: str
    topic: str
    partition: int
    offset: int


def is_reachable(bootstrap: str) -> str:
    """Empty when a broker answers; else what is wrong."""
    try:
        _client(bootstrap).list_topics(timeout=ANSWER_SECONDS)
    except KafkaException as error:
        return _text(error)
    return ""


def topic_ids(bootstrap: str, names: Iterable[str], *, new_id: str) -> dict[str, str]:
    """The id of each topic's present life: a topic made anew under the same name has another one.

    `new_id`: random; becomes the id where a cluster keeps none and nobody wrote one before.
    Topics that do not exist are created if the broker does so on request. Raises: KafkaUnavailableError.
    """
    names = list(names)
    try:
        client = _client(bootstrap)
        for name in names:
            _require(client.list_topics(name, timeout=ANSWER_SECONDS).topics[name].error, name)
        if str(client.list_topics(timeout=ANSWER_SECONDS).cluster_id).startswith(EMBEDDED_CLUSTER):
            return dict.fromkeys(names, _incarnation(bootstrap, new_id))
        admin = AdminClient({"bootstrap.servers": bootstrap})  # must outlive the answers
        found = admin.describe_topics(TopicCollection(names))
        return {name: str(future.result(ANSWER_SECONDS).topic_id) for name, future in found.items()}
    except KafkaException as error:
        raise KafkaUnavailableError(_text(error)) from error


def _incarnation(bootstrap: str, new_id: str) -> str:
    """The first message ever written to the incarnation topic: whoever comes second reads what the first one wrote."""
    _client(bootstrap).list_topics(INCARNATION, timeout=ANSWER_SECONDS)
    place = TopicPartition(INCARNATION, 0, OFFSET_BEGINNING)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    try:
        _, end = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
        if not end:
            producer = _client(bootstrap)
            producer.produce(INCARNATION, new_id.encode(), partition=0)
            producer.flush(ANSWER_SECONDS)
        consumer.assign([place])
        message = consumer.poll(ANSWER_SECONDS)
        if message is None or message.error():
            raise KafkaUnavailableError(f"cannot read {INCARNATION}: {message and message.error()}")
        return (message.value() or b"").decode()
    finally:
        consumer.close()


class Inventory:
    """The topic of collectors, from its beginning on: what each node says about itself."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "unused",  # positions are kept here: each worker reads all of it
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self._is_assigned = False

    def read(self) -> list[bytes]:
        """What came since the last call; nothing while Kafka is away."""
        if not self._is_assigned and not self._assign():
            return []
        messages = self._consumer.consume(num_messages=1000, timeout=0.0)
        return [value for message in messages if not message.error() and (value := message.value())]

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _assign(self) -> bool:
        try:
            found = self._consumer.list_topics(topics.COLLECTORS, timeout=ANSWER_SECONDS).topics[topics.COLLECTORS]
        except KafkaException:
            return False
        partitions = [TopicPartition(topics.COLLECTORS, number, OFFSET_BEGINNING) for number in found.partitions]
        if partitions:
            self._consumer.assign(partitions)
        self._is_assigned = bool(partitions)
        return self._is_assigned


class Publisher:
    """What the aggregator itself writes to Kafka: window rows, dead letters."""

    def __init__(self, bootstrap: str) -> None:
        self._errors: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": "zstd",
                "linger.ms": 20,
                "message.max.bytes": 2 * LONGEST_DEAD_LETTER,
                "message.timeout.ms": 0,  # never given up: whoever waits for the delivery decides
                "log_level": 0,
            }
        )

    def publish(self, topic: str, messages: Iterable[tuple[bytes, bytes]], *, check: Callable[[], None]) -> None:
        """Keys and values to a topic, delivered when this returns.

        `check` is called while it waits and may raise. Raises: KafkaUnavailableError, some may have been delivered.
        """
        for key, value in messages:
            self._send(topic, value, key=key, check=check)
        self._deliver(check)

    def set_aside(self, letters: Iterable[DeadLetter], *, check: Callable[[], None]) -> None:
        """Unreadable messages to the dead-letter topic; the rest as in `publish`."""
        for letter in letters:
            headers = {
                topics.HEADER_REASON: letter.reason.encode(),
                topics.HEADER_TOPIC: letter.topic.encode(),
                topics.HEADER_PARTITION: str(letter.partition).encode(),
                topics.HEADER_OFFSET: str(letter.offset).encode(),
                "length": str(len(letter.value)).encode(),
            }
            self._send(topics.DEAD_LETTER, letter.value[:LONGEST_DEAD_LETTER], headers=headers, check=check)
        self._deliver(check)

    def _send(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        check: Callable[[], None],
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=dict(headers or {}), on_delivery=self._delivered)
            except BufferError:
                check()
                self._producer.poll(WAIT_SECONDS)
            else:
                return

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._errors.append(error)

    def _deliver(self, check: Callable[[], None]) -> None:
        while self._producer.flush(WAIT_SECONDS):
            check()
        errors, self._errors = self._errors, []
        if errors:
            raise KafkaUnavailableError(errors[0].str())


def _client(bootstrap: str) -> Producer:
    return Producer({"bootstrap.servers": bootstrap, "allow.auto.create.topics": True, "log_level": 0})


def _require(error: KafkaError | None, topic: str) -> None:
    if error is not None:
        raise KafkaUnavailableError(f"topic {topic}: {error.str()}")


def _text(error: KafkaException) -> str:
    return str(error.args[0].str() if error.args else error)
