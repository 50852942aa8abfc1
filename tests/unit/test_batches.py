"""Kernel records to Arrow columns: each field to its column, and no work per record."""

import sys
from collections.abc import Callable
from types import FrameType

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.batches import to_drop_columns, to_flow_columns, to_nanoseconds, to_strings
from collector.drop_names import NamedDrops
from collector.latencies import Latencies
from collector.records import DROP_RECORD, FLOW_RECORD
from schemas import drop_batch, flow_batch
from schemas.batch import BatchHeader

pytestmark = pytest.mark.unit

OFFSET_NS = 1_700_000_000 * 10**9
NAMES = {2: "eth0", 7: "veth7"}
CLIENT = bytes(10) + b"\xff\xff\x0a\x00\x00\x00"
SERVER = bytes.fromhex("20010db8000000000000000000000001")


def a_record() -> npt.NDArray[np.void]:
    record = np.zeros(1, FLOW_RECORD)
    for name, value in {
        "time_start_ns": 5_000,
        "time_end_ns": 9_000,
        "packets": [3, 4],
        "bytes": [300, 4_000],
        "rtt_sum_ns": [60, 0],
        "ifindex": 7,
        "vni": 9,
        "rtt_count": [2, 0],
        "rtt_min_ns": [20, 0],
        "rtt_max_ns": [40, 0],
        "retransmits": [1, 2],
        "resets": [0, 1],
        "handshake_ns": [111, 222],
        "packet_bytes_min": [60, 70],
        "packet_bytes_max": [90, 1500],
        "src_port": 40_000,
        "dst_port": 443,
        "connections_opened": 1,
        "connections_closed": 2,
        "connections_refused": 3,
        "connections_no_answer": 4,
        "tcp_flags": [2, 18],
        "protocol": 6,
        "ip_version": 4,
        "flow_end_reason": 3,
        "interface_kind": 1,
        "flow_direction": 1,
        "biflow_direction": 1,
        "local_socket": 1,
    }.items():
        record[name] = value
    record["rtt_samples"][0] = [[20, 40, *[1] * 14], [9] * 16]
    record["src_addr"] = np.void(CLIENT)
    record["dst_addr"] = np.void(SERVER)
    record["outer_src_addr"] = np.void(SERVER)
    return record


def test_each_field_of_a_flow_record_is_in_its_column() -> None:
    columns = to_flow_columns(a_record(), NAMES, offset_ns=OFFSET_NS)
    columns.validate(full=True)
    assert columns.schema.equals(flow_batch.SCHEMA)
    (row,) = columns.to_pylist()
    assert (row.pop("time_start").value, row.pop("time_end").value) == (OFFSET_NS + 5_000, OFFSET_NS + 9_000)
    assert row == {
        "src_addr": CLIENT,
        "dst_addr": SERVER,
        "src_port": 40_000,
        "dst_port": 443,
        "protocol": 6,
        "ip_version": 4,
        "interface": "veth7",
        "interface_kind": 1,
        "flow_direction": 1,
        "biflow_direction": 1,
        "local_socket": 1,
        "flow_end_reason": 3,
        "packets": 3,
        "bytes": 300,
        "reverse_packets": 4,
        "reverse_bytes": 4_000,
        "packet_bytes_min": 60,
        "packet_bytes_max": 90,
        "reverse_packet_bytes_min": 70,
        "reverse_packet_bytes_max": 1500,
        "tcp_flags": 2,
        "reverse_tcp_flags": 18,
        "retransmits": 1,
        "reverse_retransmits": 2,
        "resets": 0,
        "reverse_resets": 1,
        "connections_opened": 1,
        "connections_closed": 2,
        "connections_refused": 3,
        "connections_no_answer": 4,
        "handshake_syn_ack_ns": 111,
        "handshake_ack_ns": 222,
        "rtt_count": 2,
        "rtt_sum_ns": 60,
        "rtt_min_ns": 20,
        "rtt_max_ns": 40,
        "rtt_samples": [20, 40, *[0] * 14],
        "reverse_rtt_count": 0,
        "reverse_rtt_sum_ns": 0,
        "reverse_rtt_min_ns": 0,
        "reverse_rtt_max_ns": 0,
        "reverse_rtt_samples": [0] * 16,
        "vni": 9,
        "outer_src_addr": SERVER,
        "outer_dst_addr": bytes(16),
    }


def test_interfaces_that_are_gone_keep_their_names_and_unknown_ones_have_none() -> None:
    records = np.concatenate([a_record()] * 4)
    records["ifindex"] = [7, 2, 99, 7]
    columns = to_flow_columns(records, NAMES, offset_ns=0)
    assert columns.column("interface").to_pylist() == ["veth7", "eth0", "", "veth7"]


def test_no_records_give_no_rows_of_the_same_schema() -> None:
    assert to_flow_columns(a_record()[:0], NAMES, offset_ns=0).num_rows == 0
    nothing = NamedDrops([], np.zeros(0, np.intp), [], np.zeros(0, np.intp), np.zeros(0, np.uint8))
    drops = to_drop_columns(np.zeros(0, DROP_RECORD), NAMES, names=nothing, offset_ns=0)
    assert (drops.num_rows, drops.schema.equals(drop_batch.SCHEMA)) == (0, True)


def test_each_field_of_a_drop_record_is_in_its_column() -> None:
    records = np.zeros(2, DROP_RECORD)
    records["time_start_ns"], records["time_end_ns"] = [1, 2], [3, 4]
    records["src_addr"], records["dst_addr"] = np.void(CLIENT), np.void(SERVER)
    records["ifindex"], records["netns"] = [2, 0], [77, 78]
    records["src_port"], records["dst_port"] = 5, 6
    records["protocol"], records["ip_version"], records["tcp_flags"] = 17, 4, 3
    records["packets"], records["bytes"] = [10, 20], [100, 200]
    names = NamedDrops(["NO_SOCKET"], np.array([0, 0]), ["a+1", "b+2"], np.array([1, 0]), np.array([0, 1], np.uint8))
    columns = to_drop_columns(records, NAMES, names=names, offset_ns=OFFSET_NS)
    columns.validate(full=True)
    first, second = columns.to_pylist()
    assert first.pop("time_start").value == OFFSET_NS + 1
    assert second.pop("time_end").value == OFFSET_NS + 4
    assert {name: first[name] for name in ("interface", "network_namespace", "reason", "call_site", "benign")} == {
        "interface": "eth0",
        "network_namespace": 77,
        "reason": "NO_SOCKET",
        "call_site": "b+2",
        "benign": 0,
    }
    assert (second["interface"], second["call_site"], second["benign"]) == ("", "a+1", 1)
    assert (second["packets"], second["bytes"], second["src_addr"], second["tcp_flags"]) == (20, 200, CLIENT, 3)


@given(st.integers(0, 2047), st.integers(0, 21))
def test_a_sample_is_its_mantissa_shifted_by_its_exponent(mantissa: int, exponent: int) -> None:
    assert to_nanoseconds(np.array([exponent << 11 | mantissa], np.uint16)).tolist() == [mantissa << exponent]


@given(st.lists(st.text(max_size=8), max_size=6))
def test_texts_become_an_arrow_array_of_the_same_texts(texts: list[str]) -> None:
    strings = to_strings(texts)
    strings.validate(full=True)
    assert strings.to_pylist() == texts


def calls_of(work: Callable[[], object]) -> int:
    """Calls of Python and C functions that Python makes during `work`."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_a_batch_a_hundred_times_larger_takes_not_one_python_call_more() -> None:
    header = BatchHeader(
        node="n", boot_id="b", ring_id="r", first=0, counting_since_ns=0, exported_until_ns=0, created_ns=0
    )
    latencies = Latencies()

    def convert(records: npt.NDArray[np.void]) -> bytes:
        columns = to_flow_columns(records, NAMES, offset_ns=OFFSET_NS)
        latencies.add(columns)
        return flow_batch.write_batch(columns, header)

    small, large = np.concatenate([a_record()] * 200), np.concatenate([a_record()] * 20_000)
    convert(small)
    assert calls_of(lambda: convert(large)) <= calls_of(lambda: convert(small))


def test_interfaces_with_large_indexes_are_named_as_well() -> None:
    records = np.concatenate([a_record()] * 3)
    records["ifindex"] = [4_000_000_000, 2, 4_000_000_000]
    columns = to_flow_columns(records, {4_000_000_000: "far", 2: "near"}, offset_ns=0)
    assert columns.column("interface").to_pylist() == ["far", "near", "far"]
