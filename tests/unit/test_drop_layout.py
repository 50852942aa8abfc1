"""What a kernel's types say to the names of its drop reasons."""

import pytest

from collector.drop_layout import DropReasons

GIVEN = DropReasons({2: "NOT_SPECIFIED", 3: "NO_SOCKET"}, {2: "OPENVSWITCH"}, are_given=True)


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


def test_a_kernel_that_gives_no_reasons_specifies_none() -> None:
    assert DropReasons({}, {}, are_given=False).name(0) == "NOT_SPECIFIED"
