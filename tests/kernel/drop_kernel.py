"""drop_monitor.c to a running drop monitor in this process: compiled, loaded, and its records read back."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bcc import BPF

from collector import bpf_syscall
from collector.benign_drops import to_symbol
from collector.btf import read_btf
from collector.drop_layout import NOT_SPECIFIED, DropSizes, drop_macros, drop_reasons
from collector.drop_names import DropNames, prepare_call_sites
from collector.drop_rotation import DropMaps, DropRotation
from collector.netns_directory import Watched
from collector.records import DROP_RECORD
from collector.ring import Ring
from tests.deadline import Eventually

SOURCES = Path(__file__).parents[2] / "bpf"
MAPS = ("drops_0", "drops_1", "drop_epoch", "drop_totals", "drop_jobs", "drop_sweep")


class Drop(NamedTuple):
    """Why and where packets were dropped."""

    reason: str
    symbol: str


RELEASE = tuple(int(part) for part in os.uname().release.split(".")[:2])
NFT_DROP = Drop("NETFILTER_DROP", "nft_do_chain" if RELEASE >= (6, 7) else "nf_hook_slow")
"""Before 6.7 who calls nftables frees what it drops."""
NO_ROUTE_V6 = Drop("IP_INNOROUTES", "ip6_pkt_discard" if RELEASE >= (6, 12) else "ip6_pkt_drop")
"""One calls the other, and only some compilers make one of both: 6.1 and 6.12 are as Debian's are."""


class DropKernel:
    """A drop monitor that watches no namespace yet and is not attached yet."""

    def __init__(self, sizes: DropSizes, *, without: tuple[str, ...] = ()) -> None:
        """Compile and load, as for a kernel that lacks something: KNI_HAVE_… macros to leave out."""
        os.environ["BCC_KERNEL_SOURCE"] = str(SOURCES / "kernel")
        btf = read_btf()
        macros = [macro for macro in drop_macros(btf, sizes) if macro.removeprefix("-D") not in without]
        self._program = BPF(text=(SOURCES / "drop_monitor.c").read_bytes(), cflags=[*macros, f"-I{SOURCES}"])
        if "-DKNI_HAVE_SNPRINTF" in macros:
            prepare_call_sites(self.map("call_site_format"))
        self.on_drop: int = self._program.load_func(b"on_drop", BPF.RAW_TRACEPOINT).fd
        sweep: int = self._program.load_func(b"sweep_drops", BPF.SCHED_CLS).fd
        descriptors = {name: self.map(name) for name in MAPS}
        self.maps = DropMaps(**descriptors, sweep_drops=sweep, on_drop=self.on_drop, entries=sizes.entries)
        self.rotation = DropRotation(self.maps)
        self._reasons = drop_reasons(btf)
        self.names = DropNames(self._reasons, self.map("call_sites"))
        self.ring = Ring(self.map("drops_ring"), DROP_RECORD)

    def map(self, name: str) -> int:
        """Descriptor of a map."""
        descriptor: int = self._program[name.encode()].map_fd
        return descriptor

    def as_told(self, drop: Drop) -> Drop:
        """Without its reason, where that came later than this kernel."""
        return drop if drop.reason in self._reasons.names.values() else drop._replace(reason=NOT_SPECIFIED)

    @contextmanager
    def watching(self, *inodes: int, kind: Watched = Watched.POD) -> Iterator[None]:
        """Attached, and these namespaces watched. What was dropped before is forgotten."""
        for inode in inodes:
            bpf_syscall.map_update(self.map("watched_netns"), inode.to_bytes(4, "little"), kind.to_bytes(4, "little"))
        self.forget()
        link = bpf_syscall.raw_tracepoint_open("kfree_skb", self.on_drop)
        try:
            yield
        finally:
            os.close(link)
            for inode in inodes:
                bpf_syscall.map_delete(self.map("watched_netns"), inode.to_bytes(4, "little"))

    def forget(self) -> None:
        """Empty both maps and the ring."""
        while self.rotation.held().entries:
            self.rotation.tick()
            self.read_ring()

    def read_ring(self) -> npt.NDArray[np.void]:
        """Take all records out of the ring."""
        position = self.ring.position
        records = self.ring.read(1 << 20, after=position)
        self.ring.release(position + len(records))
        return records

    def collect(self) -> npt.NDArray[np.void]:
        """Records of all that was dropped since the last call."""
        self.rotation.tick()
        return self.read_ring()

    def collect_until(
        self, eventually: Eventually, address: str, *, port: int, packets: int, end: str = "dst"
    ) -> npt.NDArray[np.void]:
        """Records of packets to (or, with "src", from) an address, once there are so many packets, and a tick later."""
        found = [packets_at(self.collect(), address, port, end=end)]

        def enough() -> bool:
            found.append(packets_at(self.collect(), address, port, end=end))
            return sum(int(part["packets"].sum()) for part in found) >= packets

        eventually(enough, within_seconds=5)
        return np.concatenate([*found, packets_at(self.collect(), address, port, end=end)])

    def count(self, records: npt.NDArray[np.void]) -> Counter[Drop]:
        """Packets of records by reason and place."""
        named = self.names.resolve(records)
        counts: Counter[Drop] = Counter()
        for record, reason, site in zip(records, named.reason_index, named.call_site_index, strict=True):
            counts[Drop(named.reasons[reason], to_symbol(named.call_sites[site]))] += int(record["packets"])
        return counts


def packets_at(records: npt.NDArray[np.void], address: str, port: int, *, end: str = "dst") -> npt.NDArray[np.void]:
    """Select the records of packets to (or, with "src", from) an address and port."""
    is_it = (records[f"{end}_addr"] == np.void(to_bytes(address))) & (records[f"{end}_port"] == port)
    chosen: npt.NDArray[np.void] = records[is_it]
    return chosen


def to_bytes(address: str) -> bytes:
    """An address as records hold it."""
    parsed = ip_address(address)
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed
