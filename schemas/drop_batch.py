"""Drop records to Arrow columns: the contract of the topic `kubenetinsight.drops`.

A row is what the kernel dropped of one conversation for one reason at one place since the last tick. Drops are no loss
of ours, and stand beside the flows: source and destination are the *packet's*, no client is known.
"""

from typing import Final

import pyarrow as pa

from schemas.batch import Contract
from schemas.flow_batch import ADDRESS, TIME, Field

_NAME: Final = pa.dictionary(pa.int32(), pa.string())

FIELDS: Final = (
    Field("time_start", TIME, "first packet dropped"),
    Field("time_end", TIME, "last packet dropped"),
    Field("src_addr", ADDRESS, "the packet's source; IPv4 mapped"),
    Field("dst_addr", ADDRESS, "the packet's destination"),
    Field("src_port", pa.uint16(), "0 where there is none"),
    Field("dst_port", pa.uint16(), ""),
    Field("protocol", pa.uint8(), "IANA protocol number"),
    Field("ip_version", pa.uint8(), "4 or 6"),
    Field("tcp_flags", pa.uint8(), "all flags seen, or'ed"),
    Field("interface", _NAME, "the node's interface; empty where none is known, and inside a pod"),
    Field("network_namespace", pa.uint32(), "inode of the network namespace that dropped it"),
    Field("reason", _NAME, "the running kernel's name: enum skb_drop_reason"),
    Field("call_site", _NAME, "symbol+offset of the kernel that dropped it, as the kernel prints it"),
    Field("benign", pa.uint8(), "1: ordinary life of a healthy connection, no damage"),
    Field("packets", pa.uint64(), "segments of super-packets"),
    Field("bytes", pa.uint64(), "length of the packet where it was dropped"),
)

CONTRACT: Final = Contract.of("drops/1", [(field.name, field.type) for field in FIELDS])
VERSION: Final = CONTRACT.version
SCHEMA: Final = CONTRACT.schema

write_batch: Final = CONTRACT.write
"""Records and their header to the message value."""

read_batch: Final = CONTRACT.read
"""The drop batch in a message value. Raises: UnreadableBatchError."""
