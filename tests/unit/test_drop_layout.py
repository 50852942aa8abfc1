"""What a kernel's types say to the macros of the drop program, and to the names of its drop reasons."""

import struct

import pytest

from collector.btf import Btf, BtfLookupError
from collector.drop_layout import DropReasons, DropSizes, drop_macros, drop_reasons, has_snprintf
from tests.unit.btf_writer import ENUM, INT, POINTER, PROTOTYPE, STRUCT, TYPEDEF, Writer

GIVEN = DropReasons({2: "NOT_SPECIFIED", 3: "NO_SOCKET"}, {2: "OPENVSWITCH"}, are_given=True)
BUFFER = ("dev", "sk", "len", "protocol", "transport_header", "network_header", "tail", "end", "head", "data")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (3, "NO_SOCKET"),
        (999, "REASON_999"),
        (0x20005, "OPENVSWITCH_5"),
        (0x30005, "SUBSYSTEM_3_5"),
    ],
    ids=["a core reason", "one that this kernel does not name", "one of a subsystem", "one of an unknown subsystem"],
)
def test_a_code_has_the_kernels_name_or_is_shown_as_a_number(code: int, name: str) -> None:
    assert GIVEN.name(code) == name


def kernel(*, arguments: tuple[str, ...], enums: dict[str, dict[str, int]], buffer: tuple[str, ...] = BUFFER) -> Btf:
    """Make a kernel whose fields are 16 bytes apart, whose tracepoint has these arguments."""
    writer = Writer()
    number = writer.add(INT, "int", 4, struct.pack("=I", 32))
    pointer = writer.members(STRUCT, "pointer", 8, [("net", number, 0), ("skc_net", number, 32), ("inum", number, 64)])
    writer.members(STRUCT, "sk_buff", 512, [(name, number, 128 * n) for n, name in enumerate(buffer)])
    writer.members(
        STRUCT, "skb_shared_info", 64, [("gso_size", number, 0), ("gso_segs", number, 16), ("gso_type", number, 32)]
    )
    writer.members(STRUCT, "net_device", 64, [("ifindex", number, 0), ("nd_net", pointer, 64)])
    writer.members(STRUCT, "net", 64, [("ns", pointer, 0), ("loopback_dev", number, 128)])
    common = writer.members(STRUCT, "sock_common", 64, [("skc_net", pointer, 64)])
    writer.members(STRUCT, "sock", 64, [("__sk_common", common, 0)])
    socket = writer.add(POINTER, "", writer.count)
    numbers = {"sock*": socket, "void*": writer.add(POINTER, "", 0)}
    for name, values in enums.items():
        tail = b"".join(struct.pack("=Ii", writer.name(key), value) for key, value in values.items())
        numbers[name] = writer.add(ENUM, name, 4, tail, elements=len(values))
    parameters = b"".join(struct.pack("=II", 0, numbers[argument]) for argument in arguments)
    writer.add(TYPEDEF, "btf_trace_kfree_skb", writer.add(PROTOTYPE, "", 0, parameters, elements=len(arguments)))
    return Btf(writer.content())


NEW = kernel(
    arguments=("void*", "void*", "void*", "skb_drop_reason", "sock*"),
    enums={
        "skb_drop_reason": {"SKB_CONSUMED": 1, "SKB_DROP_REASON_NO_SOCKET": 3},
        "skb_drop_reason_subsys": {"SKB_DROP_REASON_SUBSYS_OPENVSWITCH": 2, "SKB_DROP_REASON_NUM": 3},
        "bpf_func_id": {"BPF_FUNC_snprintf": 165},
    },
)
OLD = kernel(arguments=("void*", "void*", "void*"), enums={"bpf_func_id": {"BPF_FUNC_unspec": 0}})


def test_the_macros_say_where_the_fields_are_and_what_the_kernel_has() -> None:
    macros = drop_macros(NEW, DropSizes(entries=64, ring_bytes=1 << 16))
    assert {"-DKNI_SKB_SK_OFFSET=16", "-DKNI_NET_INUM_OFFSET=8", "-DKNI_SOCKET_NET_OFFSET=8"} <= set(macros)
    assert {"-DKNI_SKB_FIRST_OFFSET=32", "-DKNI_SKB_LAST_OFFSET=144"} <= set(macros)
    assert {"-DKNI_HAVE_REASON", "-DKNI_HAVE_RX_SK", "-DKNI_HAVE_SNPRINTF"} <= set(macros)
    assert {"-DKNI_DROP_ENTRIES=64", "-DKNI_DROPS_RING_PAGES=16"} <= set(macros)


def test_an_old_kernel_gets_no_macro_for_what_it_lacks() -> None:
    assert [macro for macro in drop_macros(OLD, DropSizes()) if "HAVE" in macro] == []
    assert not has_snprintf(OLD)


def test_a_kernel_whose_buffers_cannot_be_read_is_refused() -> None:
    strange = kernel(arguments=("void*",), enums={"bpf_func_id": {"BPF_FUNC_unspec": 0}}, buffer=BUFFER[:-1])
    with pytest.raises(BtfLookupError, match="sk_buff of the running kernel has no field data"):
        drop_macros(strange, DropSizes())


def test_reasons_are_named_as_the_kernel_names_them_without_its_prefix() -> None:
    assert drop_reasons(NEW) == DropReasons({1: "SKB_CONSUMED", 3: "NO_SOCKET"}, {2: "OPENVSWITCH"}, are_given=True)


def test_a_kernel_that_gives_no_reasons_specifies_none() -> None:
    reasons = drop_reasons(OLD)
    assert not reasons.are_given
    assert reasons.name(0) == "NOT_SPECIFIED"


def test_a_kernel_may_have_reasons_without_subsystems() -> None:
    enums = {"skb_drop_reason": {"SKB_DROP_REASON_NO_SOCKET": 2}}
    reasons = drop_reasons(kernel(arguments=("void*", "void*", "void*", "skb_drop_reason"), enums=enums))
    assert reasons == DropReasons({2: "NO_SOCKET"}, {}, are_given=True)
