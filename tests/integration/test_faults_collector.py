"""A machine that lacks something, and what others have attached, to one message each; and the least that is enough."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.bpffs import mount, unmount
from tests.deadline import Eventually
from tests.integration.collector_world import Collector, attached
from tests.integration.foreign_program import foreign_program
from tests.integration.refusals import PYTHON, as_nobody, environment, refusal, without
from tests.kernel.collector_veths import Veths
from tests.programs import ENDS_WITH_TEST

NewCollector = Callable[..., Collector]
COLLECTOR = (*PYTHON, "collector")
WITHOUT_BTF = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh")
NEAR, FAR = f"knif{os.getpid()}", f"knig{os.getpid()}"
UNTOUCHED = {"KNI_UPLINKS": "", "KNI_PODS": "", "KNI_NODE": "kf-node", "KNI_COLLECTOR_LISTEN": "127.0.0.1:0"}


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (as_nobody(), "lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON: run it as root, or give it the capabilities"),
        (without("bpf", "sys_admin"), "lacks CAP_BPF: run it as root"),
        (without("perfmon", "sys_admin"), "lacks CAP_PERFMON: run it as root"),
        (without("net_admin"), "lacks CAP_NET_ADMIN: run it as root"),
        (WITHOUT_BTF, "/sys/kernel/btf/vmlinux is missing): run a kernel built with CONFIG_DEBUG_INFO_BTF=y"),
    ],
    ids=["not root", "no BPF", "no PERFMON", "no NET_ADMIN", "no BTF"],
)
def test_what_the_machine_does_not_give_is_named(tmp_path: Path, prefix: tuple[str, ...], message: str) -> None:
    pins = tmp_path / "bpf"
    assert message in refusal((*prefix, *COLLECTOR), {**UNTOUCHED, "KNI_BPFFS": str(pins)})
    assert not pins.exists()


@pytest.mark.parametrize(
    ("prefix", "settings", "message"),
    [
        (
            (),
            {"KNI_BPFFS": "/etc/hostname"},
            "KNI_BPFFS=/etc/hostname can't be used (File exists: /etc/hostname): name",
        ),
        ((), {"KNI_BPFFS": "/proc/kni/bpf"}, "KNI_BPFFS=/proc/kni/bpf can't be used (No such file or directory"),
        (
            without("sys_admin"),
            {},
            "is not on a BPF file system and none can be mounted there (Operation not permitted)",
        ),
        (
            (),
            {"KNI_NETNS": "/etc/hostname"},
            "KNI_NETNS=/etc/hostname can't be entered (Invalid argument): give the path",
        ),
        (
            (),
            {"KNI_NETNS": "/run/netns/kf-no"},
            "KNI_NETNS=/run/netns/kf-no can't be entered (No such file or directory)",
        ),
    ],
    ids=["pins in a file", "pins where nothing can be made", "no mount", "a file as namespace", "no namespace"],
)
def test_a_path_that_leads_nowhere_is_named_with_what_belongs_there(
    tmp_path: Path, prefix: tuple[str, ...], *, settings: dict[str, str], message: str
) -> None:
    pins = tmp_path / "bpf"
    assert message in refusal((*prefix, *COLLECTOR), {**UNTOUCHED, "KNI_BPFFS": str(pins), **settings})
    assert not pins.is_mount()


@pytest.fixture
def pins_of_nobody(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system prepared for a user who is not root, as an administrator would."""
    tmp_path.chmod(0o711)
    pins = tmp_path / "bpf"
    pins.mkdir()
    mount(pins)
    os.chown(pins, 65534, 65534)
    yield pins
    assert unmount(pins)


@pytest.fixture
def wire() -> Iterator[str]:
    """A veth of this machine's own namespace."""
    subprocess.run(["ip", "link", "add", NEAR, "type", "veth", "peer", "name", FAR], check=True)
    try:
        subprocess.run(["ip", "link", "set", NEAR, "up"], check=True)
        yield NEAR
    finally:
        subprocess.run(["ip", "link", "delete", NEAR], check=True)


def hooks_of(interface: str) -> list[str]:
    """What is attached to an interface of this machine's own namespace."""
    shown = subprocess.run(
        ["sh", "-c", f"tc filter show dev {interface} egress; ip -details link show dev {interface}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in shown.stdout.splitlines() if "bpf" in line or "prog/xdp" in line]


def test_three_capabilities_and_a_prepared_file_system_are_enough(
    wire: str, pins_of_nobody: Path, embedded: str
) -> None:
    settings = {"KNI_BPFFS": str(pins_of_nobody), "KNI_KAFKA": embedded, "KNI_UPLINKS": f"{wire}=xdp"}
    process = subprocess.Popen(
        (*as_nobody("+bpf", "+net_admin", "+perfmon"), *COLLECTOR),
        env=environment(**UNTOUCHED | settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    line = process.stdout.readline()
    hooks = hooks_of(wire)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert line.startswith("ready collector kf-node"), said
    assert len(hooks) == 3, "an XDP program, and a filter with its priority's own line"
    assert (process.returncode, hooks_of(wire)) == (0, [])
    assert [path.name for path in pins_of_nobody.iterdir() if "." not in path.name] == []


def test_where_others_have_their_xdp_program_auto_counts_by_tc_and_xdp_refuses(
    node: Veths, new_collector: NewCollector, *, embedded: str, tmp_path: Path
) -> None:
    with foreign_program(tmp_path / "foreign", "xdp") as pin:
        subprocess.run(
            ["nsenter", f"--net={node.path}", "ip", "link", "set", "dev", "v0", "xdpdrv", "pinned", str(pin)],
            check=True,
        )
        before = attached(node, "v0")
        refused = new_collector(embedded, KNI_UPLINKS="v0=xdp").refuse()
        assert "native XDP can't be attached to v0: another XDP program (id " in refused
        assert attached(node, "v0") == before
        collector = new_collector(embedded, KNI_UPLINKS="v*=auto", KNI_PODS="")
        collector.start()
        hooks = {(row["hook"], row["direction"]) for row in collector.status()["interfaces"]}
        assert hooks == {("tc", "ingress"), ("tc", "egress")}
        collector.stop()
        assert attached(node, "v0") == before


def test_a_foreign_filter_at_our_place_is_named_and_left_alone(
    node: Veths, new_collector: NewCollector, *, embedded: str, tmp_path: Path
) -> None:
    with foreign_program(tmp_path / "foreign", "tc") as pin:
        inside = ("nsenter", f"--net={node.path}", "tc")
        subprocess.run([*inside, "qdisc", "add", "dev", "v0", "clsact"], check=True)
        place = ("prio", "1", "handle", "0x6b6e69", "bpf", "da", "object-pinned", str(pin))
        subprocess.run([*inside, "filter", "add", "dev", "v0", "egress", *place], check=True)
        before = attached(node, "v0")
        message = new_collector(embedded, KNI_UPLINKS="v0=tc").refuse()
        assert "v0 is already counted at, by the TC filter" in message
        assert "take the interface out of one's settings" in message
        assert attached(node, "v0") == before


def test_pins_of_another_version_are_named_and_kept(new_collector: NewCollector, embedded: str) -> None:
    collector = new_collector(embedded, KNI_UPLINKS="v0=tc")
    collector.bpffs.mkdir()
    mount(collector.bpffs)
    layout = collector.bpffs / collector.node / "v999-0123456789abcdef"
    layout.mkdir(parents=True)
    message = collector.refuse()
    assert f"{layout} was pinned by another version of the collector" in message
    assert "give its records up by `kubenetinsight detach`" in message
    assert layout.exists()


def test_asked_to_stop_while_it_loads_it_stops_at_once_and_leaves_nothing(
    new_collector: NewCollector, embedded: str, *, eventually: Eventually, tmp_path: Path
) -> None:
    collector = new_collector(embedded, KNI_UPLINKS="v0=tc")
    log = tmp_path / "stopped.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            (*ENDS_WITH_TEST, *COLLECTOR), env=environment(**collector.environment()), stdout=output, stderr=output
        )
    eventually(lambda: '"loading"' in log.read_text(), within_seconds=30)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0, log.read_text()
    assert "stopped before anything was attached" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert attached(collector.veths, "v0") == ""
    assert not collector.bpffs.is_mount()


@pytest.mark.parametrize(
    ("prefix", "settings", "message"),
    [
        (as_nobody(), {}, "kubenetinsight detach: this process lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"),
        ((), {"KNI_BPFFS": "/etc/hostname"}, "kubenetinsight detach: KNI_BPFFS=/etc/hostname can't be used"),
        ((), {"KNI_NETNS": "/run/netns/kf-no"}, "kubenetinsight detach: KNI_NETNS=/run/netns/kf-no can't be entered"),
    ],
    ids=["not root", "pins in a file", "no namespace"],
)
def test_detach_says_what_it_cannot_do(
    tmp_path: Path, prefix: tuple[str, ...], *, settings: dict[str, str], message: str
) -> None:
    command = (*prefix, *PYTHON, "cli", "detach")
    assert message in refusal(command, {**UNTOUCHED, "KNI_BPFFS": str(tmp_path / "bpf"), **settings})
    assert not (tmp_path / "bpf").is_mount()
