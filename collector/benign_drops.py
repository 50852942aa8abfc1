"""Reason and call site of a drop to whether it is benign: ordinary life of a healthy connection, no damage.

The kernel frees much through the same function that reports losses: a FIN left in a closed socket's queue, a duplicate
that TCP already has, a sniffer's copy. Each row was seen on Linux 6.18, or 6.1, with nothing wrong. A reason alone is
not enough (QUEUE_PURGE may be a full buffer's content), nor is a symbol (tcp_v4_rcv also refuses closed ports): both
must match. What is in no row is not benign.
"""

from typing import Final, NamedTuple

from collector.drop_layout import NOT_SPECIFIED


class Benign(NamedTuple):
    """One cause of drops that harm nobody."""

    reason: str
    symbols: frozenset[str]
    why: str
    needs_reasons: bool = False
    """The symbol tells nothing where the kernel gives no reasons (before 5.17) and calls all drops NOT_SPECIFIED."""


CAUSES: Final = (
    Benign(
        "QUEUE_PURGE",
        frozenset({"sk_stream_kill_queues", "tcp_disconnect"}),
        "a FIN, or data nobody read, was in the queue when the socket closed: about one a connection",
    ),
    Benign(
        NOT_SPECIFIED,
        frozenset({"sk_stream_kill_queues", "tcp_disconnect"}),
        "the same, where the kernel has no reason for it yet (before 6.6)",
    ),
    Benign(
        "QUEUE_PURGE",
        frozenset({"skb_queue_purge_reason"}),
        "a sniffer closed with copies of packets unread",
    ),
    Benign(
        "TCP_OLD_SEQUENCE",
        frozenset({"tcp_validate_incoming", "tcp_rcv_established", "tcp_data_queue"}),
        "keepalive or repeated data that was already received",
    ),
    Benign(
        "TCP_OLD_DATA",
        frozenset({"tcp_validate_incoming", "tcp_rcv_established", "tcp_data_queue"}),
        "data that was already received came again",
    ),
    Benign(
        "TCP_OFOMERGE",
        frozenset({"tcp_validate_incoming", "tcp_rcv_established", "tcp_data_queue"}),
        "data out of order was already there in full",
    ),
    Benign(
        NOT_SPECIFIED,
        frozenset({"tcp_v4_rcv", "tcp_v6_rcv"}),
        "the last FIN, RST or ACK of a connection was taken in",
        needs_reasons=True,
    ),
    Benign(
        NOT_SPECIFIED,
        frozenset({"ip6_mc_input"}),
        "IPv6 multicast to a group that nobody here joined",
        needs_reasons=True,
    ),
    Benign(
        NOT_SPECIFIED,
        frozenset({"udp_destruct_common"}),
        "datagrams nobody read when the socket closed",
    ),
    Benign(
        NOT_SPECIFIED,
        frozenset({"bpf_prog_test_run_skb"}),
        "the frame of a program's test run",
    ),
    Benign(
        "PACKET_SOCK_ERROR",
        frozenset({"packet_rcv"}),
        "a sniffer's queue had no place for its copy",
    ),
    Benign(
        NOT_SPECIFIED,
        frozenset({"packet_rcv"}),
        "the same, where the kernel has no reason for it yet (6.1)",
    ),
    Benign(
        "OTHERHOST",
        frozenset({"ip_rcv_core", "ip6_rcv_core"}),
        "a frame for another station came by, as on a bridge that floods",
    ),
)


def benign_cause(reason: str, symbol: str, *, reasons_are_given: bool) -> Benign | None:
    """The row that matches, None when the drop counts as damage.

    `symbol` is a function's name without offset, as `to_symbol` gives it.
    """
    for cause in CAUSES:
        if cause.reason == reason and symbol in cause.symbols:
            return cause if reasons_are_given or not cause.needs_reasons else None
    return None


def to_symbol(call_site: str) -> str:
    """The function in a call site's text: without offset, module and the compiler's suffixes (.cold, .isra.0)."""
    return call_site.partition("+")[0].partition(".")[0]
