"""A machine and a process to what is missing: each sentence names it and says what to do."""

import pytest

from collector.preflight import PreflightError, check

pytestmark = pytest.mark.unit

ALL = "000001ffffffffff"
NET_ADMIN, SYS_ADMIN, PERFMON, BPF = 1 << 12, 1 << 21, 1 << 38, 1 << 39


def status(held: int | str) -> str:
    text = held if isinstance(held, str) else f"{held:016x}"
    return f"Name:\tpython3\nCapInh:\t0000000000000000\nCapEff:\t{text}\nCapBnd:\t{ALL}\n"


@pytest.mark.parametrize("held", [ALL, BPF | NET_ADMIN | PERFMON, SYS_ADMIN | NET_ADMIN], ids=["root", "three", "old"])
def test_root_the_three_capabilities_and_the_one_that_implies_them_are_enough(held: int | str) -> None:
    check(release="6.1.0-13-amd64", status=status(held), has_btf=True, enters_namespace=False)
    assert status(held).count("CapEff") == 1


@pytest.mark.parametrize(
    ("release", "held", "has_btf", "enters_namespace", "words"),
    [
        ("5.10.0-26-amd64", ALL, True, False, ["the kernel is 5.10.0-26-amd64", "5.15 or newer"]),
        ("nonsense", ALL, True, False, ["the kernel is nonsense"]),
        ("6.1.0", ALL, False, False, ["/sys/kernel/btf/vmlinux is missing", "CONFIG_DEBUG_INFO_BTF=y"]),
        ("6.1.0", 0, True, False, ["lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON", "run it as root"]),
        ("6.1.0", BPF | NET_ADMIN, True, False, ["lacks CAP_PERFMON:"]),
        ("6.1.0", BPF | NET_ADMIN | PERFMON, True, True, ["lacks CAP_SYS_ADMIN (KNI_NETNS is set)"]),
        ("5.4.0", 0, False, True, ["5.15 or newer", "vmlinux is missing", "CAP_BPF, CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
    ],
)
def test_all_that_is_missing_is_told_at_once(
    release: str, held: int | str, *, has_btf: bool, enters_namespace: bool, words: list[str]
) -> None:
    with pytest.raises(PreflightError) as refusal:
        check(release=release, status=status(held), has_btf=has_btf, enters_namespace=enters_namespace)
    assert all(word in str(refusal.value) for word in words), refusal.value
