"""Flow records to Arrow columns: the contract of the topic `kubenetinsight.flows`.

A row is a flow record: the growth of one biflow (RFC 5103) since its last record, seen at one interface of one node.
Plain columns count what the client (the source) sent, `reverse_…` what the server sent. It may only grow compatibly:
columns are added, never changed or removed.
"""

from typing import Final, NamedTuple

import pyarrow as pa

from schemas.batch import Contract

SAMPLES: Final = 16

TIME: Final = pa.timestamp("ns", tz="UTC")
ADDRESS: Final = pa.binary(16)
_SAMPLE_LIST: Final = pa.list_(pa.field("item", pa.uint32(), nullable=False), SAMPLES)


class Field(NamedTuple):
    """A column: its name is IPFIX's or RFC 5103's where they have one."""

    name: str
    type: pa.DataType
    meaning: str


FIELDS: Final = (
    Field("time_start", TIME, "first packet in this record"),
    Field("time_end", TIME, "last packet in this record"),
    Field("src_addr", ADDRESS, "the client's address; IPv4 mapped (::ffff:a.b.c.d)"),
    Field("dst_addr", ADDRESS, "the server's address as on the wire here: a ClusterIP before translation"),
    Field("src_port", pa.uint16(), "the client's port; ICMP: type of the request"),
    Field("dst_port", pa.uint16(), "the server's port; ICMP: type of the reply, else code"),
    Field("protocol", pa.uint8(), "IANA protocol number"),
    Field("ip_version", pa.uint8(), "4 or 6"),
    Field("interface", pa.dictionary(pa.int32(), pa.string()), "the node's interface that saw it"),
    Field("interface_kind", pa.uint8(), "0 uplink, 1 pod"),
    Field("flow_direction", pa.uint8(), "IPFIX 61: 0 the client's packets come in at this interface, 1 they go out"),
    Field("biflow_direction", pa.uint8(), "IPFIX 239: 1 the client was seen to begin, 0 it is a rule on the 5-tuple"),
    Field("local_socket", pa.uint8(), "1: a socket of this node itself sent or answered"),
    Field("flow_end_reason", pa.uint8(), "IPFIX 136: 1 idle, 2 active, 3 end detected, 4 forced, 5 lack of resources"),
    Field("packets", pa.uint64(), "segments on the wire, not super-packets"),
    Field("bytes", pa.uint64(), "frame bytes from the Ethernet header on, without FCS"),
    Field("reverse_packets", pa.uint64(), ""),
    Field("reverse_bytes", pa.uint64(), ""),
    Field("packet_bytes_min", pa.uint16(), "smallest frame; 0: no packet"),
    Field("packet_bytes_max", pa.uint16(), "largest frame"),
    Field("reverse_packet_bytes_min", pa.uint16(), ""),
    Field("reverse_packet_bytes_max", pa.uint16(), ""),
    Field("tcp_flags", pa.uint8(), "all flags seen, or'ed (RFC 9293)"),
    Field("reverse_tcp_flags", pa.uint8(), ""),
    Field("retransmits", pa.uint32(), "segments sent again: below the highest sequence seen, and not overtaken"),
    Field("reverse_retransmits", pa.uint32(), ""),
    Field("resets", pa.uint32(), "segments with RST"),
    Field("reverse_resets", pa.uint32(), ""),
    Field("connections_opened", pa.uint16(), "handshakes completed; each in exactly one record of an interface"),
    Field("connections_closed", pa.uint16(), "both FIN, or RST after opening"),
    Field("connections_refused", pa.uint16(), "SYN answered by RST"),
    Field("connections_no_answer", pa.uint16(), "SYN without answer for 3 s"),
    Field("handshake_syn_ack_ns", pa.uint32(), "SYN to SYN/ACK, seen here; 0: not in this record"),
    Field("handshake_ack_ns", pa.uint32(), "SYN/ACK to ACK, seen here; 0: not in this record"),
    Field("rtt_count", pa.uint32(), "samples of: client's data passes here until the server's ACK passes here"),
    Field("rtt_sum_ns", pa.uint64(), ""),
    Field("rtt_min_ns", pa.uint32(), "0 without samples"),
    Field("rtt_max_ns", pa.uint32(), ""),
    Field("rtt_samples", _SAMPLE_LIST, "in ns: all up to 16; of more, 16 quantiles in no order. The rest 0"),
    Field("reverse_rtt_count", pa.uint32(), "samples of: server's data passes here until the client's ACK passes here"),
    Field("reverse_rtt_sum_ns", pa.uint64(), ""),
    Field("reverse_rtt_min_ns", pa.uint32(), ""),
    Field("reverse_rtt_max_ns", pa.uint32(), ""),
    Field("reverse_rtt_samples", _SAMPLE_LIST, ""),
    Field("vni", pa.uint32(), "VXLAN network identifier of the tunnel it came in; 0 without one"),
    Field("outer_src_addr", ADDRESS, "the tunnel's end on the client's side; zero without one"),
    Field("outer_dst_addr", ADDRESS, "the tunnel's end on the server's side"),
)

CONTRACT: Final = Contract.of("flows/1", [(field.name, field.type) for field in FIELDS])
VERSION: Final = CONTRACT.version
SCHEMA: Final = CONTRACT.schema

write_batch: Final = CONTRACT.write
"""Records and their header to the message value."""

read_batch: Final = CONTRACT.read
"""The flow batch in a message value. Raises: UnreadableBatchError."""
