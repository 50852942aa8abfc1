"""bpf/records.h and bpf/table.h to numpy dtypes: the bytes that the kernel and user space share.

The C headers are the definition; a test compiles them and compares every offset and size. Names are the same. Integers
are little-endian as on every machine that the programs run on; addresses are ``V16``, since numpy's ``S16`` strips
trailing zero bytes.
"""

from enum import IntEnum, IntFlag

import numpy as np

SAMPLES = LANES = 16
WAYS = 7
SIZES = 12

FLOW_RECORD = np.dtype(
    [
        ("time_start_ns", "<u8"),
        ("time_end_ns", "<u8"),
        ("packets", "<u8", 2),
        ("bytes", "<u8", 2),
        ("rtt_sum_ns", "<u8", 2),
        ("src_addr", "V16"),
        ("dst_addr", "V16"),
        ("outer_src_addr", "V16"),
        ("outer_dst_addr", "V16"),
        ("ifindex", "<u4"),
        ("vni", "<u4"),
        ("rtt_count", "<u4", 2),
        ("rtt_min_ns", "<u4", 2),
        ("rtt_max_ns", "<u4", 2),
        ("retransmits", "<u4", 2),
        ("resets", "<u4", 2),
        ("handshake_ns", "<u4", 2),
        ("rtt_samples", "<u2", (2, SAMPLES)),
        ("rtt_lanes", "<u2", (2, LANES)),
        ("packet_bytes_min", "<u2", 2),
        ("packet_bytes_max", "<u2", 2),
        ("src_port", "<u2"),
        ("dst_port", "<u2"),
        ("connections_opened", "<u2"),
        ("connections_closed", "<u2"),
        ("connections_refused", "<u2"),
        ("connections_no_answer", "<u2"),
        ("tcp_flags", "u1", 2),
        ("protocol", "u1"),
        ("ip_version", "u1"),
        ("flow_end_reason", "u1"),
        ("interface_kind", "u1"),
        ("flow_direction", "u1"),
        ("biflow_direction", "u1"),
        ("local_socket", "u1"),
        ("rtt_shift", "u1", 2),
        ("reserved", "u1", 1),
    ]
)

DROP_RECORD = np.dtype(
    [
        ("time_start_ns", "<u8"),
        ("time_end_ns", "<u8"),
        ("packets", "<u8"),
        ("bytes", "<u8"),
        ("location", "<u8"),
        ("src_addr", "V16"),
        ("dst_addr", "V16"),
        ("netns", "<u4"),
        ("ifindex", "<u4"),
        ("reason", "<u4"),
        ("src_port", "<u2"),
        ("dst_port", "<u2"),
        ("protocol", "u1"),
        ("ip_version", "u1"),
        ("tcp_flags", "u1"),
        ("reserved", "u1", 5),
    ]
)

STATE = np.dtype(
    [("tcp_flags", "u1", 2), ("phase", "u1"), ("client", "u1"), ("marks", "u1"), ("reserved", "u1", 3)],
)

HOT = np.dtype(
    [
        ("count", "<u8", 2),
        ("state", STATE),
        ("last", "<u4"),
        ("first", "<u4"),
        ("highest", "<u4", 2),
        ("acknowledged", "<u4", 2),
        ("gap_begin", "<u4"),
        ("gap_end", "<u4"),
        ("longest", "<u2", 2),
        ("shortest", "<u2", 2),
    ]
)

BUCKET = np.dtype([("tag", "<u8", 8), ("way", HOT, WAYS)])

IDENTITY = np.dtype(
    [
        ("address", "<u8", (2, 2)),
        ("outer", "<u8", (2, 2)),
        ("ifindex", "<u4"),
        ("vni", "<u4"),
        ("port", "<u2", 2),
        ("protocol", "u1"),
        ("ip_version", "u1"),
        ("interface_kind", "u1"),
        ("direction", "u1"),
    ]
)

COLD = np.dtype(
    [
        ("rtt", "<u8", 2),
        ("rtt_least", "<u4", 2),
        ("rtt_most", "<u4", 2),
        ("gap_at", "<u4"),
        ("round_trip", "<u2"),
        ("rtt_shift", "u1", 2),
        ("rtt_lanes", "<u2", (2, LANES)),
        ("rtt_samples", "<u2", (2, SAMPLES)),
        ("retransmits", "<u8"),
        ("resets", "<u8"),
        ("connections", "<u8"),
        ("handshake_ns", "<u8"),
        ("spilled_packets", "<u8", 2),
        ("spilled_bytes", "<u8", 2),
        ("syn_sequence", "<u4"),
        ("shaken_at", "<u4"),
        ("identity", IDENTITY),
    ]
)

HOOK_TOTAL = np.dtype(
    [
        ("frames", "<u8", 4),
        ("packets", "<u8", 4),
        ("bytes", "<u8", 4),
        ("size_packets", "<u8", (4, SIZES)),
        ("size_bytes", "<u8", 4),
        ("irregular_frames", "<u8"),
    ]
)

EXPORTER = np.dtype(
    [
        ("paused_until_ns", "<u8"),
        ("exported", "<u8"),
        ("refused", "<u8"),
        ("single", "<u8"),
        ("spilled", "<u8"),
        ("contended", "<u8"),
    ],
)

SLOT = np.dtype([("ifindex", "<u4"), ("slot", "<u2"), ("interface_kind", "u1"), ("reserved", "u1")])

INTERFACE = np.dtype(
    [
        ("counting_since_ns", "<u8"),
        ("ifindex", "<u4"),
        ("interface_kind", "u1"),
        ("reserved", "u1", 3),
        ("name", "S16"),
    ]
)

JOB = np.dtype(
    [("place", "<u4"), ("command", "<u2"), ("reserved", "<u2"), ("last", "<u4"), ("reserved_too", "<u4")],
)

SWEEP = np.dtype(
    [
        ("now_ns", "<u8"),
        ("next", "<u8"),
        ("exported", "<u8"),
        ("refused", "<u8"),
        ("unanswered", "<u8"),
        ("retired", "<u8"),
        ("freed", "<u8"),
    ]
)


class FlowEndReason(IntEnum):
    """IPFIX flowEndReason (IANA, element 136)."""

    IDLE = 1
    ACTIVE = 2
    DETECTED = 3
    FORCED = 4
    LACK_OF_RESOURCES = 5


class InterfaceKind(IntEnum):
    """What stands behind an interface; tunnels are opened at uplinks only."""

    UPLINK = 0
    POD = 1


class Tag(IntEnum):
    """A place in the table; every other value is a conversation's digest."""

    FREE = 0
    GONE = 1


class Phase(IntEnum):
    """Where a TCP connection stands."""

    NOT_TCP = 0
    MIDSTREAM = 1
    SYN_SENT = 2
    UNANSWERED = 3
    SYN_RECEIVED = 4
    ESTABLISHED = 5
    ENDED = 6


class Mark(IntFlag):
    """Bits of an entry's state."""

    FIN_OF_0 = 1
    FIN_OF_1 = 2
    READY = 4
    INITIATED = 8
    LOCAL_SOCKET = 16
    PENDING = 32


class Outcome(IntEnum):
    """What a packet at a hook ends as: exactly one of these."""

    ACCOUNTED = 0
    NON_IP = 1
    MALFORMED = 2
    LOST = 3


class Command(IntEnum):
    """What the sweep program is asked to do with a place."""

    EXPORT = 1
    GIVE_UP = 2
    RETIRE = 3
    HARVEST = 4
    FLUSH = 5
