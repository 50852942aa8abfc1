"""Kernel records become Arrow columns: literal records in, literal rows out, and no work per record."""

import sys

import numpy as np
import pyarrow as pa
import pytest

from collector.batches import to_drop_columns, to_flow_columns
from collector.drop_names import NamedDrops
from collector.records import DROP_RECORD, FLOW_RECORD

CLIENT = bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 1])
SERVER = bytes.fromhex("fd00") + bytes(13) + b"\x02"


def flow_records(rows=1):
    records = np.zeros(rows, FLOW_RECORD)
    records["time_start_ns"], records["time_end_ns"] = 1_000, 3_000
    records["src_addr"], records["dst_addr"] = np.void(CLIENT), np.void(SERVER)
    records["src_port"], records["dst_port"], records["protocol"], records["ip_version"] = 40_000, 443, 6, 4
    records["ifindex"] = 7
    records["packets"], records["bytes"] = (3, 2), (300, 200)
    records["tcp_flags"] = (0x1A, 0x12)
    records["retransmits"], records["resets"] = (1, 0), (0, 4)
    records["packet_bytes_min"], records["packet_bytes_max"] = (66, 54), (1514, 80)
    records["handshake_ns"] = (5_000, 6_000)
    records["rtt_count"], records["rtt_sum_ns"] = (2, 0), (9_000, 0)
    records["rtt_min_ns"], records["rtt_max_ns"] = (4_000, 0), (5_000, 0)
    # 5 bits exponent, 11 bits mantissa: 1,000 × 2² and 1,250 × 2²; behind them stands an older sample
    records["rtt_samples"][:, 0, :3] = (2 << 11 | 1000, 2 << 11 | 1250, 77)
    return records


def test_every_field_arrives_in_its_column_and_direction():
    (row,) = to_flow_columns(flow_records(), {7: "veth7"}, offset_ns=1_000_000).to_pylist()

    assert (row["time_start"].value, row["time_end"].value) == (1_001_000, 1_003_000)
    assert (row["src_addr"], row["dst_addr"]) == (CLIENT, SERVER)
    assert (row["src_port"], row["dst_port"], row["protocol"], row["interface"]) == (40_000, 443, 6, "veth7")
    assert [row[name] for name in ("packets", "reverse_packets", "bytes", "reverse_bytes")] == [3, 2, 300, 200]
    assert [row[name] for name in ("tcp_flags", "reverse_tcp_flags")] == [0x1A, 0x12]
    assert [row[name] for name in ("retransmits", "reverse_resets")] == [1, 4]
    assert [row[name] for name in ("packet_bytes_min", "reverse_packet_bytes_max")] == [66, 80]
    assert [row[name] for name in ("handshake_syn_ack_ns", "handshake_ack_ns")] == [5_000, 6_000]


def test_samples_are_nanoseconds_and_end_with_the_count():
    (row,) = to_flow_columns(flow_records(), {}, offset_ns=0).to_pylist()

    assert row["rtt_samples"] == [4_000, 5_000, 0, 0, 0, 0, 0, 0]
    assert row["reverse_rtt_samples"] == [0] * 8


def test_a_name_stands_once_in_the_dictionary_however_many_interfaces_have_it():
    records = flow_records(4)
    records["ifindex"] = (7, 8, 9, 7)

    column = to_flow_columns(records, {9: "veth9"}, offset_ns=0).column("interface")

    assert sorted(column.dictionary.to_pylist()) == ["", "veth9"]
    assert column.to_pylist() == ["", "", "veth9", ""]


def test_drops_of_one_name_share_its_place():
    records = np.zeros(3, DROP_RECORD)
    names = NamedDrops(
        ["NO_SOCKET", "NO_SOCKET"],
        np.array([0, 1, 1]),
        ["a+0x1/0x2", "b+0x1/0x2"],
        np.array([1, 0, 1]),
        np.zeros(3, np.uint8),
    )

    columns = to_drop_columns(records, {}, names=names, offset_ns=0)

    assert columns.column("reason").dictionary.to_pylist() == ["NO_SOCKET"]
    assert columns.column("call_site").to_pylist() == ["b+0x1/0x2", "a+0x1/0x2", "b+0x1/0x2"]


def test_no_record_is_an_empty_batch():
    assert to_flow_columns(flow_records(0), {}, offset_ns=0).num_rows == 0


@pytest.mark.parametrize("rows", [100, 10_000])
def test_python_is_called_as_often_for_a_batch_a_hundred_times_as_large(rows):
    assert calls_of(flow_records(rows)) == calls_of(flow_records(10))


def calls_of(records):
    count = 0

    def note(*_):
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        batch = to_flow_columns(records, {7: "veth7"}, offset_ns=0)
    finally:
        sys.setprofile(None)
    assert isinstance(batch, pa.RecordBatch)
    return count
