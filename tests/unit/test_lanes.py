"""Test files to the units that lanes take: what must not run beside each other is one unit."""

import re
from pathlib import Path

import pytest

from tests.lanes import LABS, LONGEST_FIRST, place_of, unit_of

ROOT = Path(__file__).parents[2]
FILES = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "tests").glob("*/test_*.py")}
STARTS_A_LAB = re.compile(r"lab\.world import World|import .*\bLAB\b|\(lab[,)]")


def test_every_file_that_starts_a_lab_is_in_their_unit() -> None:
    assert {name for name, text in FILES.items() if "/unit/" not in name and STARTS_A_LAB.search(text)} == LABS


def test_every_unit_that_comes_first_is_there() -> None:
    assert set(LONGEST_FIRST) <= {unit_of(f"{name}::test") for name in FILES}


@pytest.mark.parametrize(
    ("nodeid", "unit", "place"),
    [
        ("tests/e2e/test_doors.py::test_x[a::b]", "labs", 0),
        (f"{LONGEST_FIRST[1]}::test_x", LONGEST_FIRST[1], 1),
        ("tests/unit/test_lanes.py::test_x", "tests/unit/test_lanes.py", len(LONGEST_FIRST)),
    ],
    ids=["a lab's file", "a long file", "any other file"],
)
def test_a_test_is_of_the_unit_of_its_file(nodeid: str, unit: str, place: int) -> None:
    assert (unit_of(nodeid), place_of(nodeid)) == (unit, place)
