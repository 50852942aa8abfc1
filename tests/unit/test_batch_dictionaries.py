"""Names become dictionaries in which each stands once: ClickHouse refuses a batch that says one twice."""

import numpy as np

from collector.batches import to_drop_columns, to_flow_columns
from collector.drop_names import NamedDrops
from collector.records import DROP_RECORD, FLOW_RECORD


def test_a_name_stands_once_however_many_interfaces_have_it():
    records = np.zeros(4, FLOW_RECORD)
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
