"""Arrow record batch to Kafka message value and back: the envelope that all batch topics share.

A value is one Arrow IPC stream with one record batch. The schema's metadata carries what is true of the whole batch: who
counted, since when, up to when, and which positions of which ring these records are. A batch is named by
(ring id, first, last): a repetition is recognised by its positions, a gap is a loss that is known.
"""

from dataclasses import dataclass, fields
from typing import Final

import pyarrow as pa

from schemas.topics import MAX_MESSAGE_BYTES

MAX_ROWS: Final = 100_000
FUTURE_NS: Final = 300 * 10**9
"""A node's clock may be ahead by so much; beyond it a time is impossible."""
PAST_NS: Final = 24 * 3600 * 10**9
"""Older records would only be written to expire at once: the retention of the `flows` table."""

_METADATA_VERSION: Final = b"schema"


class UnreadableBatchError(ValueError):
    """These bytes will never be a batch: set them aside and count them by `reason`, do not try again."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What is true of a whole batch. Times are Unix nanoseconds, positions are ordinals of the ring's records."""

    node: str
    boot_id: str
    ring_id: str
    """128 random bits in hexadecimal, made with the ring: a new ring starts at position 0."""
    first: int
    """Position of the first record; with no record, the position that the next one will have."""
    counting_since_ns: int
    """Every packet since then is in a record, held, or counted as lost."""
    exported_until_ns: int
    """Every packet up to then is in this ring at or before this batch's last position."""
    created_ns: int
    held_packets: int = 0
    """Still in the kernel's table when the totals were read."""
    held_bytes: int = 0
    closed: bool = False
    """The ring's last batch: nothing follows under this ring id."""
    node_addresses: bytes = b""
    """The node's own addresses, 16 bytes each, in order."""
    counters: str = "{}"
    """JSON object of the collector's cumulative counters, name to whole number: losses by place and reason among them."""
    totals: bytes = b""
    """Arrow IPC stream of `interface_totals.SCHEMA`, cumulative; empty where nothing changed since the last one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as read: `last` is below `header.first` when it is empty."""

    header: BatchHeader
    records: pa.RecordBatch

    @property
    def last(self) -> int:
        return self.header.first + self.records.num_rows - 1


def write_batch(records: pa.RecordBatch, header: BatchHeader, version: str) -> bytes:
    """The message value of records under their header; `version` such as "flows/1"."""
    metadata = {_METADATA_VERSION: version.encode()}
    for field in fields(header):
        metadata[field.name.encode()] = _to_bytes(getattr(header, field.name))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, records.schema.with_metadata(metadata)) as writer:
        writer.write_batch(records)
    return sink.getvalue().to_pybytes()


def read_batch(value: bytes, schema: pa.Schema, version: str, *, now_ns: int) -> Batch:
    """The batch in a message value, fully validated; columns may have been added since this reader was built.

    Raises: UnreadableBatchError, with one of the reasons too_large, not_arrow, wrong_schema, wrong_header,
    impossible_time.
    """
    if len(value) > MAX_MESSAGE_BYTES:
        raise UnreadableBatchError("too_large", f"{len(value)} bytes")
    try:
        with pa.ipc.open_stream(value) as reader:
            found = reader.schema
            _check_version(found, version)
            records = reader.read_next_batch().select(schema.names)
            records.validate(full=True)
            if next(iter(reader), None) is not None:
                raise UnreadableBatchError("too_large", "more than one record batch")
    except UnreadableBatchError:
        raise
    except KeyError as error:
        raise UnreadableBatchError("wrong_schema", str(error)) from error
    except (pa.ArrowException, StopIteration, OSError, ValueError) as error:
        raise UnreadableBatchError("not_arrow", str(error)[:200]) from error
    if not records.schema.remove_metadata().equals(schema):
        raise UnreadableBatchError("wrong_schema", "column types differ")
    if records.num_rows > MAX_ROWS:
        raise UnreadableBatchError("too_large", f"{records.num_rows} rows")
    _check_times(records, now_ns)
    return Batch(_read_header(found.metadata), records)


def _check_version(found: pa.Schema, version: str) -> None:
    stated = (found.metadata or {}).get(_METADATA_VERSION, b"")
    if stated != version.encode():
        raise UnreadableBatchError("wrong_schema", f"{stated[:40]!r} where {version} belongs")


def _check_times(records: pa.RecordBatch, now_ns: int) -> None:
    if not records.num_rows:
        return
    start = records.column("time_start").to_numpy(zero_copy_only=False).view("i8")
    end = records.column("time_end").to_numpy(zero_copy_only=False).view("i8")
    if (start > end).any() or end.max() > now_ns + FUTURE_NS or end.min() < now_ns - PAST_NS:
        raise UnreadableBatchError("impossible_time", f"between {end.min()} and {end.max()} at {now_ns}")


def _read_header(metadata: dict[bytes, bytes]) -> BatchHeader:
    try:
        values = {field.name: _from_bytes(metadata[field.name.encode()], field.type) for field in fields(BatchHeader)}
        header = BatchHeader(**values)
    except (KeyError, ValueError) as error:
        raise UnreadableBatchError("wrong_header", str(error)[:200]) from error
    if header.first < 0 or not header.node or not header.ring_id or len(header.node_addresses) % 16:
        raise UnreadableBatchError("wrong_header", "position, node, ring or addresses")
    return header


def _to_bytes(value: str | int | bytes) -> bytes:
    return value if isinstance(value, bytes) else str(int(value) if isinstance(value, bool) else value).encode()


def _from_bytes(value: bytes, kind: object) -> str | int | bytes | bool:
    if kind is bytes:
        return value
    text = value.decode()
    if kind is bool:
        return bool(int(text))
    return int(text) if kind is int else text
