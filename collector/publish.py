"""Batches to Kafka: the one file that knows confluent_kafka.

The producer is idempotent: a batch is in its partition once, and behind all that were handed over before it. When that
can't be kept, the producer is dead (`failure`), and a new one starts where the ring still holds what was not
acknowledged. So this side never decides to send something again. It holds little: the ring is the queue.
"""

from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.topics import HEADER_SCHEMA, MAX_MESSAGE_BYTES

_QUEUE_KILOBYTES: Final = 24 << 10
_QUEUE_MESSAGES: Final = 1_000

OnDelivery = Callable[[str | None], None]
"""Called in order, from `poll`, with None when the brokers hold the batch, else with the error."""


class Publisher:
    """One producer, from its start to its first fatal error."""

    def __init__(self, servers: str, *, client_id: str) -> None:
        """Connects in the background; `servers` as in `bootstrap.servers`."""
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "client.id": client_id,
                "acks": "all",
                "enable.idempotence": True,
                # A batch that fails for good fails all behind it, instead of leaving a gap in the positions.
                "enable.gapless.guarantee": True,
                "compression.type": "zstd",
                # Against the default, 3: a third less of the processor, and bytes as many but for one in a hundred.
                "compression.level": 1,
                "linger.ms": 5,
                # 0: for ever. The default gives up after 5 minutes and tells only the callback.
                "message.timeout.ms": 0,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "queue.buffering.max.kbytes": _QUEUE_KILOBYTES,
                "queue.buffering.max.messages": _QUEUE_MESSAGES,
                "reconnect.backoff.max.ms": 2_000,
                "socket.keepalive.enable": True,
                "log_level": 0,
                "error_cb": self._on_error,
            }
        )
        self.failure: str | None = None
        """Why this producer will never send anything again."""
        self.last_error: str | None = None
        """What the brokers' connections said last; None since something was acknowledged."""
        self.errors = 0

    def send(self, topic: str, value: bytes, *, key: str, schema: str, on_delivery: OnDelivery) -> bool:
        """Hand over one message; False: not now, there is no room. Returns at once."""
        try:
            self._producer.produce(
                topic,
                value,
                key=key,
                headers={HEADER_SCHEMA: schema.encode()},
                on_delivery=lambda error, _: self._on_delivered(error, on_delivery),
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._on_error(error.args[0])
            return False
        return True

    def poll(self, timeout_seconds: float) -> None:
        """Run callbacks; waits for one at most so long."""
        try:
            self._producer.poll(timeout_seconds)
        except KafkaException as error:  # a fatal one is raised here, too
            self._on_error(error.args[0])

    @property
    def waiting(self) -> int:
        """Messages handed over and not yet answered."""
        return len(self._producer)

    def abandon(self) -> None:
        """Forget what was not answered: its callbacks run now, with an error."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self.poll(0)

    def _on_delivered(self, error: KafkaError | None, on_delivery: OnDelivery) -> None:
        if error is None:
            self.last_error = None
            on_delivery(None)
        else:
            self._on_error(error)
            on_delivery(error.str())

    def _on_error(self, error: KafkaError) -> None:
        self.errors += 1
        self.last_error = error.str()
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own codes are named so
            self.failure = self.failure or error.str()
