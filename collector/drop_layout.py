"""The running kernel's types to the macros that drop_monitor.c is compiled with, and to names of drop reasons."""

import mmap
from dataclasses import dataclass
from typing import Final

from collector.btf import Btf, BtfLookupError

_BLOCK: Final = ("len", "head", "data", "tail", "end", "protocol", "network_header", "transport_header")
"""Fields of sk_buff that are read of every drop, and in one piece."""
_OFFSETS: Final = {
    "SKB_DEV": ("sk_buff", "dev"),
    "SKB_SK": ("sk_buff", "sk"),
    "SHARED_GSO_SEGS": ("skb_shared_info", "gso_segs"),
    "SHARED_GSO_SIZE": ("skb_shared_info", "gso_size"),
    "SHARED_GSO_TYPE": ("skb_shared_info", "gso_type"),
    "DEVICE_NET": ("net_device", "nd_net.net"),
    "DEVICE_IFINDEX": ("net_device", "ifindex"),
    "NET_INUM": ("net", "ns.inum"),
    "NET_LOOPBACK": ("net", "loopback_dev"),
    "SOCKET_NET": ("sock", "__sk_common.skc_net.net"),
}
_TRACEPOINT: Final = "btf_trace_kfree_skb"
_REASON_PREFIX: Final = "SKB_DROP_REASON_"
_SUBSYSTEM_PREFIX: Final = "SKB_DROP_REASON_SUBSYS_"
_SUBSYSTEM_SHIFT: Final = 16
"""SKB_DROP_REASON_SUBSYS_SHIFT, include/net/dropreason.h"""
NOT_SPECIFIED: Final = "NOT_SPECIFIED"


@dataclass(frozen=True, slots=True)
class DropSizes:
    """How much the drop maps hold."""

    entries: int = 8192
    """(reason, call site, namespace, interface, conversation) in one tick."""
    namespaces: int = 4096
    call_sites: int = 4096
    ring_bytes: int = 4 << 20
    """A power of two of at least a page; a record takes 104 bytes of it."""


@dataclass(frozen=True, slots=True)
class DropReasons:
    """What the running kernel calls its reasons."""

    names: dict[int, str]
    """Core reasons by code, without the kernel's prefix."""
    subsystems: dict[int, str]
    """Number of a subsystem (upper half of a code) to its name: their reasons' names are in modules."""
    are_given: bool
    """False before 5.17: then every drop is NOT_SPECIFIED, and code 0."""

    def name(self, code: int) -> str:
        """The reason's name; a code without a name is shown as a number."""
        if not self.are_given:
            return NOT_SPECIFIED
        subsystem, number = code >> _SUBSYSTEM_SHIFT, code & (1 << _SUBSYSTEM_SHIFT) - 1
        if subsystem:
            return f"{self.subsystems.get(subsystem, f'SUBSYSTEM_{subsystem}')}_{number}"
        return self.names.get(code, f"REASON_{code}")


def drop_macros(btf: Btf, sizes: DropSizes) -> list[str]:
    """Compiler arguments for drop_monitor.c. Raises: BtfLookupError, when the kernel's drops can't be read."""
    offsets = {name: btf.offset(*field) for name, field in _OFFSETS.items()}
    block = {f"SKB_{field.upper()}": btf.offset("sk_buff", field) for field in _BLOCK}
    ends = {"SKB_FIRST": min(block.values()) & ~7, "SKB_LAST": max(block.values())}
    macros = [f"-DKNI_{name}_OFFSET={offset}" for name, offset in {**offsets, **block, **ends}.items()]
    parameters = btf.parameters(_TRACEPOINT)
    if "skb_drop_reason" in parameters:
        macros.append("-DKNI_HAVE_REASON")
    if "sock*" in parameters:
        macros.append("-DKNI_HAVE_RX_SK")
    if has_snprintf(btf):
        macros.append("-DKNI_HAVE_SNPRINTF")
    return [
        *macros,
        f"-DKNI_DROP_ENTRIES={sizes.entries}",
        f"-DKNI_WATCHED_NETNS={sizes.namespaces}",
        f"-DKNI_CALL_SITES={sizes.call_sites}",
        f"-DKNI_DROPS_RING_PAGES={sizes.ring_bytes // mmap.PAGESIZE}",
    ]


def has_snprintf(btf: Btf) -> bool:
    """Has the kernel bpf_snprintf (5.13)? Then the map call_site_format must be written and frozen before loading."""
    return "BPF_FUNC_snprintf" in btf.enum("bpf_func_id")


def drop_reasons(btf: Btf) -> DropReasons:
    """The running kernel's names of reasons."""
    try:
        codes = btf.enum("skb_drop_reason")
    except BtfLookupError:
        return DropReasons({}, {}, are_given=False)
    try:
        subsystems = btf.enum("skb_drop_reason_subsys")
    except BtfLookupError:
        subsystems = {}
    return DropReasons(
        {code: name.removeprefix(_REASON_PREFIX) for name, code in codes.items()},
        {
            number: name.removeprefix(_SUBSYSTEM_PREFIX)
            for name, number in subsystems.items()
            if name.startswith(_SUBSYSTEM_PREFIX)
        },
        are_given="skb_drop_reason" in btf.parameters(_TRACEPOINT),
    )
