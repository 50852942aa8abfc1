"""The C headers to the numpy layouts: every struct compiled by cc, every offset and size compared."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from collector import records

SOURCES = Path(__file__).parents[2] / "bpf"
STRUCTS = {
    "kni_flow_record": records.FLOW_RECORD,
    "kni_drop_record": records.DROP_RECORD,
    "kni_hot": records.HOT,
    "kni_bucket": records.BUCKET,
    "kni_identity": records.IDENTITY,
    "kni_cold": records.COLD,
    "kni_hook_total": records.HOOK_TOTAL,
    "kni_exporter": records.EXPORTER,
    "kni_slot": records.SLOT,
    "kni_interface": records.INTERFACE,
    "kni_job": records.JOB,
    "kni_sweep": records.SWEEP,
}


def run_c(tmp_path: Path, statements: list[str]) -> str:
    """What a program prints that includes the headers."""
    source = tmp_path / "layout.c"
    types = "".join(f"typedef unsigned {kind} u{bits};" for bits, kind in ((8, "char"), (16, "short"), (32, "int")))
    source.write_text(
        f"#include <stdio.h>\n#include <stddef.h>\n{types} typedef unsigned long long u64;\n"
        f'#include "table.h"\nint main(void) {{ {" ".join(statements)} return 0; }}\n',
        encoding="ascii",
    )
    program = tmp_path / "layout"
    subprocess.run(["cc", "-std=gnu11", f"-I{SOURCES}", "-o", program, source], check=True)
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("struct", "dtype"), STRUCTS.items(), ids=STRUCTS.keys())
def test_a_layout_is_the_same_in_c_and_python(tmp_path: Path, struct: str, dtype: np.dtype[np.void]) -> None:
    fields = fields_of(struct)
    assert list(dtype.names or ()) == fields
    told = run_c(
        tmp_path,
        [
            f'printf("%zu\\n", sizeof(struct {struct}));',
            *(
                f'printf("%zu %zu\\n", offsetof(struct {struct}, {name}), sizeof(((struct {struct} *)0)->{name}));'
                for name in fields
            ),
        ],
    ).split("\n")
    assert int(told[0]) == dtype.itemsize
    assert dtype.fields is not None
    layout = [dtype.fields[name] for name in fields]
    assert told[1:-1] == [f"{offset} {kind.itemsize}" for kind, offset, *_ in layout]


def fields_of(struct: str) -> list[str]:
    """Names in the order of the C definition."""
    text = "".join((SOURCES / name).read_text(encoding="utf-8") for name in ("records.h", "table.h"))
    body = re.search(rf"^struct {struct} {{\n(.*?)^}};", text, re.DOTALL | re.MULTILINE)
    assert body
    without_comments = re.sub(r"/\*.*?\*/", "", body.group(1), flags=re.DOTALL)
    return re.findall(r"(\w+)(?:\[\w+\])*;", without_comments)


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        (records.FlowEndReason, "KNI_END_{}"),
        (records.InterfaceKind, "KNI_{}"),
        (records.Tag, "KNI_{}"),
        (records.Phase, "KNI_{}"),
        (records.Command, "KNI_{}"),
        (records.Outcome, "KNI_{}"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_enum_has_the_same_values_in_c_and_python(tmp_path: Path, enum: type[records.Tag], names: str) -> None:
    told = run_c(tmp_path, [f'printf("%d\\n", {names.format(member.name)});' for member in enum]).split()
    assert [int(value) for value in told] == [int(member) for member in enum]


def test_marks_have_the_same_bits_in_c_and_python(tmp_path: Path) -> None:
    names = ("KNI_FIN_OF_0", "KNI_FIN_OF_0 << 1", "KNI_READY", "KNI_INITIATED", "KNI_LOCAL_SOCKET", "KNI_PENDING")
    told = run_c(tmp_path, [f'printf("%d\\n", {name});' for name in names]).split()
    assert [int(value) for value in told] == [mark.value for mark in records.Mark]


def test_records_stand_without_gaps_in_the_ring() -> None:
    """The kernel begins each record at a multiple of 8 (kernel/bpf/ringbuf.c)."""
    assert (records.FLOW_RECORD.itemsize % 8, records.DROP_RECORD.itemsize % 8) == (0, 0)


def test_operators_are_told_how_many_records_the_ring_holds() -> None:
    told = (SOURCES.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"`KNI_RING_BYTES / {records.FLOW_RECORD.itemsize + 8}` flow records" in told
