"""Arrow record batch to Kafka message value and back: the envelope that all batch topics share.

A value is one Arrow IPC stream with one record batch. Two entries of the schema's metadata speak of the whole batch:
`schema` is its name and version, `header` a JSON object (bytes in it as base64): who counted, since when, up to when,
and which positions of which ring these records are. A batch is named by (ring id, first, last): a repetition is known
by its positions, a gap is a loss with a number.
"""

import io
from dataclasses import dataclass, field
from typing import Annotated, Final, Self

import msgspec
import pyarrow as pa

from schemas.topics import MAX_MESSAGE_BYTES

MAX_ROWS: Final = 100_000
FUTURE_NS: Final = 300 * 10**9
"""A node's clock may be ahead by so much; beyond it a time is impossible."""
PAST_NS: Final = 24 * 3600 * 10**9
"""Older records would only be written to expire at once: the retention of the `flows` table."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=(1 << 63) - 1)]


class UnreadableBatchError(ValueError):
    """These bytes will never be a batch: set them aside and count them by `reason`, do not try again."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHeader:
    """What is true of a whole batch. Times are Unix nanoseconds, positions are ordinals of the ring's records."""

    node: Name
    boot_id: str
    ring_id: Name
    """128 random bits in hexadecimal, made with the ring: a new ring starts at position 0."""
    first: Count
    """Position of the first record; with no record, the position that the next one will have."""
    counting_since_ns: Count
    """Every packet since then is in a record, held, or counted as lost."""
    exported_until_ns: Count
    """Every packet up to then is in this ring at or before this batch's last position."""
    created_ns: Count
    held_packets: Count = 0
    """Still in the kernel's table when the totals were read."""
    held_bytes: Count = 0
    closed: bool = False
    """The ring's last batch: nothing follows under this ring id."""
    node_addresses: bytes = b""
    """The node's own addresses, 16 bytes each, one after the other."""
    counters: dict[str, Count] = field(default_factory=dict)
    """The collector's cumulative counters; packets lost by reason are called lost_…"""
    totals: bytes = b""
    """Arrow IPC stream of `interface_totals.SCHEMA`, cumulative; empty where nothing changed since the last one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as read."""

    header: BatchHeader
    records: pa.RecordBatch

    @property
    def next(self) -> int:
        """The position behind its last record."""
        return self.header.first + int(self.records.num_rows)


@dataclass(frozen=True, slots=True)
class Contract:
    """One topic's schema and its version, such as "flows/1"."""

    version: str
    schema: pa.Schema

    @classmethod
    def of(cls, version: str, columns: list[tuple[str, pa.DataType]]) -> Self:
        """A contract whose columns all hold a value in every row."""
        return cls(version, pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns]))

    def write(self, records: pa.RecordBatch, header: BatchHeader) -> bytes:
        """The message value of records under their header."""
        metadata = {b"schema": self.version.encode(), b"header": msgspec.json.encode(header)}
        sink = io.BytesIO()  # Arrow's own sinks grow by copying, and their bytes are one more copy
        with pa.ipc.new_stream(sink, self.schema.with_metadata(metadata)) as writer:
            writer.write_batch(records)
        return sink.getvalue()

    def read(self, value: bytes, *, now_ns: int) -> Batch:
        """The batch in a message value, fully validated; columns may have been added since this reader was built.

        Raises: UnreadableBatchError, with one of the reasons too_large, not_arrow, wrong_schema, wrong_header,
        impossible_time.
        """
        if len(value) > MAX_MESSAGE_BYTES:
            raise UnreadableBatchError("too_large", f"{len(value)} bytes")
        records, names = _read_arrow(value)
        metadata = records.schema.metadata or {}
        if metadata.get(b"schema") != self.version.encode():
            raise UnreadableBatchError("wrong_schema", f"{metadata.get(b'schema')!r:.40} where {self.version} belongs")
        header = _read_header(metadata.get(b"header", b""))
        if missing := set(self.schema.names) - names:
            raise UnreadableBatchError("wrong_schema", f"without {', '.join(sorted(missing))}")
        records = records.select(self.schema.names).replace_schema_metadata()
        if not records.schema.equals(self.schema):
            raise UnreadableBatchError("wrong_schema", "column types differ")
        if nameless := [name for name in self.schema.names if has_nulls(records.column(name))]:
            raise UnreadableBatchError("wrong_schema", f"no value in {', '.join(nameless)}")
        _check_times(records, now_ns)
        return Batch(header, records)


def has_nulls(column: pa.Array) -> bool:
    """Whether a value is missing, at any depth: Arrow's own validation does not look, though a schema forbids it."""
    if isinstance(column, pa.DictionaryArray):
        return bool(column.null_count or column.dictionary.null_count)
    if isinstance(column, pa.FixedSizeListArray):
        return bool(column.null_count or column.flatten().null_count)
    return bool(column.null_count)


def _read_arrow(value: bytes) -> tuple[pa.RecordBatch, set[str]]:
    try:
        with pa.ipc.open_stream(value) as reader:
            records = reader.read_next_batch()
            records.validate(full=True)
            names = set(records.schema.names)  # decoded on access: damaged ones are no UTF-8
            more = next(iter(reader), None)
    except (pa.ArrowException, StopIteration, OSError, ValueError) as error:
        raise UnreadableBatchError("not_arrow", str(error)[:200]) from error
    if more is not None or records.num_rows > MAX_ROWS:
        raise UnreadableBatchError("too_large", f"{records.num_rows} rows, or more than one record batch")
    return records, names


def _read_header(value: bytes) -> BatchHeader:
    try:
        header = msgspec.json.decode(value, type=BatchHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableBatchError("wrong_header", str(error)[:200]) from error
    if len(header.node_addresses) % 16:
        raise UnreadableBatchError("wrong_header", f"node_addresses of {len(header.node_addresses)} bytes")
    return header


def _check_times(records: pa.RecordBatch, now_ns: int) -> None:
    if not records.num_rows:
        return
    start, end = (records.column(name).to_numpy(zero_copy_only=False).view("i8") for name in ("time_start", "time_end"))
    if start.min() < 0 or (start > end).any() or end.max() > now_ns + FUTURE_NS or end.min() < now_ns - PAST_NS:
        raise UnreadableBatchError("impossible_time", f"between {end.min()} and {end.max()} at {now_ns}")
