"""A message of the flow topic to the rows that `flows --follow` shows."""

import sys
from ipaddress import IPv6Address
from typing import Final

from cli.clickhouse import Answer
from schemas.batch import UnreadableBatchError
from schemas.flow_batch import read_batch

_SHOWN: Final = (
    "time_end",
    "interface",
    "protocol",
    "src_addr",
    "src_port",
    "dst_addr",
    "dst_port",
    "packets",
    "bytes",
    "reverse_packets",
    "reverse_bytes",
)


def to_answer(value: bytes, *, now_ns: int) -> Answer:
    """One row a flow record, the node first; a message that is no batch is said on standard error and has no rows."""
    columns = ("node", *_SHOWN)
    try:
        batch = read_batch(value, now_ns=now_ns)
    except UnreadableBatchError as error:
        sys.stderr.write(f"kubenetinsight: a message of the flow topic is no batch: {error}\n")
        return Answer(columns, [])
    records = batch.records.select(_SHOWN).to_pylist()
    return Answer(columns, [(batch.header.node, *map(_cell, record.values())) for record in records])


def _cell(value: object) -> object:
    if isinstance(value, bytes):
        address = IPv6Address(value)
        return str(address.ipv4_mapped or address)
    return value
