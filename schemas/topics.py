"""Names to topics: what the programs call each other's streams, keys and headers on Kafka.

Every message of a topic has the same key rule, so that all of one node (or one window row) stays in one partition and
in order. Partition counts never change in a topic's life: positions and intents are per partition.
"""

from typing import Final

FLOWS: Final = "kubenetinsight.flows"
"""Arrow batches of flow records; key: node."""

DROPS: Final = "kubenetinsight.drops"
"""Arrow batches of drop records; key: node."""

COLLECTORS: Final = "kubenetinsight.collectors"
"""JSON, compacted: what a node's collector watches and which addresses are the node's own; key: node."""

WINDOWS: Final = "kubenetinsight.windows"
"""One JSON object per row of a closed window; key: the row's key. Consumers keep the highest `revision`."""

DEAD_LETTER: Final = "kubenetinsight.dead-letter"
"""The bytes that could not be read, as they came; headers: reason, topic, partition, offset."""

ALL: Final = (FLOWS, DROPS, COLLECTORS, WINDOWS, DEAD_LETTER)
COMPACTED: Final = (COLLECTORS,)

HEADER_SCHEMA: Final = "schema"
"""Message header with the schema's name and version, such as b"flows/1"."""

HEADER_REASON: Final = "reason"
HEADER_TOPIC: Final = "topic"
HEADER_PARTITION: Final = "partition"
HEADER_OFFSET: Final = "offset"

MAX_MESSAGE_BYTES: Final = 4 << 20
"""Larger messages are neither sent nor read; the broker's `message.max.bytes` must not be smaller."""
