"""Reason and symbol to benign or not: both must match, and only what is listed is benign."""

import pytest

from collector.benign_drops import CAUSES, benign_cause, to_symbol


@pytest.mark.parametrize(
    ("reason", "symbol"),
    [
        ("QUEUE_PURGE", "sk_stream_kill_queues"),
        ("QUEUE_PURGE", "tcp_disconnect"),
        ("TCP_OLD_DATA", "tcp_data_queue"),
        ("TCP_OLD_SEQUENCE", "tcp_validate_incoming"),
        ("NOT_SPECIFIED", "tcp_v4_rcv"),
        ("NOT_SPECIFIED", "udp_destruct_common"),
        ("NOT_SPECIFIED", "sk_stream_kill_queues"),
        ("NOT_SPECIFIED", "packet_rcv"),
        ("NOT_SPECIFIED", "bpf_prog_test_run_skb"),
        ("OTHERHOST", "ip_rcv_core"),
    ],
)
def test_ordinary_life_of_connections_is_benign(reason: str, symbol: str) -> None:
    cause = benign_cause(reason, symbol, reasons_are_given=True)
    assert cause is not None
    assert cause.why


@pytest.mark.parametrize(
    ("reason", "symbol"),
    [
        ("NETFILTER_DROP", "nft_do_chain"),
        ("SOCKET_RCVBUFF", "udp_queue_rcv_one_skb"),
        ("NO_SOCKET", "tcp_v4_rcv"),
        ("TCP_CSUM", "tcp_v4_rcv"),
        ("QUEUE_PURGE", "udp_queue_rcv_one_skb"),
        ("NOT_SPECIFIED", "veth_xdp_rcv_skb"),
        ("NOT_SPECIFIED", "skb_queue_purge"),
        ("NOT_SPECIFIED", "0xffffffff81000000"),
    ],
)
def test_what_is_in_no_row_is_damage(reason: str, symbol: str) -> None:
    assert benign_cause(reason, symbol, reasons_are_given=True) is None


def test_where_the_kernel_gives_no_reasons_a_busy_function_proves_nothing() -> None:
    assert benign_cause("NOT_SPECIFIED", "tcp_v4_rcv", reasons_are_given=False) is None
    assert benign_cause("NOT_SPECIFIED", "udp_destruct_common", reasons_are_given=False) is not None


@pytest.mark.parametrize(
    ("call_site", "symbol"),
    [
        ("__udp4_lib_rcv+0x4bc/0xd00", "__udp4_lib_rcv"),
        ("nft_do_chain+0x1/0x2 [nf_tables]", "nft_do_chain"),
        ("tcp_v4_rcv.cold+0x10/0x20", "tcp_v4_rcv"),
        ("0xffffffff81000000", "0xffffffff81000000"),
        ("", ""),
    ],
)
def test_a_symbol_is_the_function_without_offset_module_and_compiler_suffix(call_site: str, symbol: str) -> None:
    assert to_symbol(call_site) == symbol


def test_no_pair_stands_in_two_rows() -> None:
    pairs = [(cause.reason, symbol) for cause in CAUSES for symbol in cause.symbols]
    assert len(pairs) == len(set(pairs))
