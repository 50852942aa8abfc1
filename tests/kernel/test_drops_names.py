"""What crosses between the drop program and Python: layouts as the compiler has them, names as the kernel has them."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collector.btf import read_btf
from collector.drop_layout import DropSizes, drop_macros, drop_reasons
from collector.drop_rotation import CALL_SITE_BYTES, CLASSES, KEY, SUM, SWEEP, TOTALS
from collector.netns_directory import NetnsDirectory, Watched
from collector.records import DROP_RECORD
from tests.deadline import Eventually
from tests.kernel.drop_kernel import SOURCES, DropKernel
from tests.kernel.drop_world import FAR_V4, Namespace, World, world

STRUCTS = {"kni_drop_key": KEY, "kni_drop_sum": SUM, "kni_drop_totals": TOTALS, "kni_drop_sweep": SWEEP}
TYPES = "#include <stdio.h>\n#include <stddef.h>\n#include <stdint.h>\n" + "".join(
    f"typedef uint{bits}_t u{bits};\n" for bits in (8, 16, 32, 64)
)


def run_c(directory: Path, statements: str) -> list[int]:
    """Compile and run C that sees drop_table.h; give the numbers it prints."""
    source = directory / "layout.c"
    body = (
        f"#include <stdio.h>\n#include <stddef.h>\n{TYPES}#include <drop_table.h>\nint main(void) {{ {statements} }}\n"
    )
    source.write_text(body)
    program = str(directory / "layout")
    subprocess.run([shutil.which("cc") or "cc", f"-I{SOURCES}", "-o", program, str(source)], check=True)
    return [int(line) for line in subprocess.run([program], check=True, capture_output=True).stdout.split()]


@pytest.mark.parametrize("name", STRUCTS)
def test_a_struct_has_the_same_layout_in_c_and_in_numpy(tmp_path: Path, name: str) -> None:
    fields: Mapping[str, Any] = STRUCTS[name].fields or {}
    prints = [f"offsetof(struct {name}, {field})" for field in fields]
    prints += [f"sizeof(((struct {name} *)0)->{field})" for field in fields] + [f"sizeof(struct {name})"]
    found = run_c(tmp_path, "".join(f'printf("%zu\\n", {expression});' for expression in prints))
    expected = [fields[field][1] for field in fields] + [fields[field][0].itemsize for field in fields]
    assert found == [*expected, STRUCTS[name].itemsize]


def test_enums_and_sizes_are_the_same_in_c_and_in_python(tmp_path: Path) -> None:
    names = [f"KNI_DROP_{name.upper()}" for name in CLASSES] + ["KNI_DROP_CLASSES"]
    names += ["KNI_WATCHED_NODE", "KNI_WATCHED_POD", "sizeof(struct kni_call_site)"]
    found = run_c(tmp_path, "".join(f'printf("%d\\n", (int){name});' for name in names))
    assert found == [*range(len(CLASSES) + 1), Watched.NODE, Watched.POD, CALL_SITE_BYTES]


@pytest.fixture(scope="module")
def kernel() -> DropKernel:
    return DropKernel(DropSizes(entries=1024, namespaces=16, call_sites=256, ring_bytes=1 << 18))


@pytest.fixture(scope="module")
def cable() -> Iterator[World]:
    with world("n", has_ipv6=False) as both:
        yield both


def test_the_running_kernel_says_where_its_fields_are_and_what_its_reasons_are_called() -> None:
    btf = read_btf()
    macros = drop_macros(btf, DropSizes(entries=64, ring_bytes=1 << 16))
    reasons = drop_reasons(btf)
    assert "-DKNI_DROP_ENTRIES=64" in macros
    assert "-DKNI_DROPS_RING_PAGES=16" in macros
    assert all(name in reasons.names.values() for name in ("NOT_SPECIFIED", "NO_SOCKET", "NETFILTER_DROP"))


def test_a_call_site_without_text_is_shown_as_an_address(kernel: DropKernel) -> None:
    assert kernel.names.call_site(0xFFFFFFFF81234567) == "0xffffffff81234567"


def test_no_records_have_no_names(kernel: DropKernel) -> None:
    named = kernel.names.resolve(np.zeros(0, DROP_RECORD))
    assert (named.reasons, named.call_sites) == ([], [])
    assert len(named.reason_index) == len(named.call_site_index) == len(named.benign) == 0


def test_an_old_kernel_gives_neither_reasons_nor_texts_and_its_drops_are_counted_all_the_same(
    cable: World, eventually: Eventually
) -> None:
    """Before 5.17 there are no reasons, before 5.13 no bpf_snprintf, before 6.11 no receiving socket."""
    packets = 5
    sizes = DropSizes(entries=1024, namespaces=16, call_sites=256, ring_bytes=1 << 18)
    old = DropKernel(sizes, without=("KNI_HAVE_REASON", "KNI_HAVE_SNPRINTF", "KNI_HAVE_RX_SK"))
    with old.watching(cable.far.inode), cable.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(packets):
            sending.sendto(b"dropped", (FAR_V4, 7008))
        records = old.collect_until(eventually, FAR_V4, port=7008, packets=packets)
    assert int(records["packets"].sum()) == packets
    assert set(records["reason"].tolist()) == {0}
    assert old.names.resolve(records).call_sites == [f"0x{int(records['location'][0]):x}"]


def count_calls(work: Callable[[], object]) -> int:
    """Python functions entered while something is done."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_naming_costs_no_more_python_for_a_hundred_times_the_records(kernel: DropKernel) -> None:
    few = np.zeros(100, DROP_RECORD)
    few["location"] = np.arange(100) % 5
    few["reason"] = np.arange(100) % 3
    many = np.tile(few, 100)
    kernel.names.resolve(few)
    assert count_calls(lambda: kernel.names.resolve(many)) == count_calls(lambda: kernel.names.resolve(few))


def test_a_new_network_namespace_is_watched_as_soon_as_its_file_is_one(cable: World, eventually: Eventually) -> None:
    directory = NetnsDirectory(Path("/run/netns"))
    assert cable.near.inode in directory.refresh(0).added
    added: dict[int, Watched] = {}

    def sees(inode: int) -> bool:
        added.update(directory.refresh(1).added)
        return inode in added

    new = Namespace(f"{cable.near.name}x")
    subprocess.run(["ip", "netns", "add", new.name], check=True)
    try:
        inode = new.inode
        assert eventually(lambda: sees(inode), within_seconds=5)
    finally:
        subprocess.run(["ip", "netns", "del", new.name], check=True)
    assert inode in directory.refresh(2).removed
    directory.close()
