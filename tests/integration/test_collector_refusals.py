"""What a collector can't begin with, to one message: what, where, what to do; and nothing attached or pinned."""

import socket
import subprocess
from collections.abc import Callable

import pytest

from tests.integration.collector_world import Collector, attached
from tests.kernel.collector_veths import Veths, run

NewCollector = Callable[..., Collector]
XDP_OBJECT = "xdp-none"


def check_nothing_is_left(collector: Collector) -> None:
    assert attached(collector.veths, "v0") == ""
    assert not collector.bpffs.is_mount()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"KNI_UPLINKS": "v0=generic"}, ["KNI_UPLINKS=v0=generic", "auto|xdp|tc"]),
        ({"KNI_UPLINKS": "eth7"}, ["KNI_UPLINKS=eth7", "no such interface", "it has lo, v0"]),
        ({"KNI_NETNS": "/run/netns/kc-nowhere"}, ["/run/netns/kc-nowhere"]),
        ({"KNI_RING_BYTES": "1000000"}, ["KNI_RING_BYTES=1000000", "power of two"]),
        ({"KNI_KAFKA": "broker"}, ["KNI_KAFKA=broker", "HOST:PORT"]),
    ],
    ids=["a hook that is none", "an uplink that is not there", "no such namespace", "a ring size", "no port"],
)
def test_a_wrong_setting_is_told(
    new_collector: NewCollector, settings: dict[str, str], *, embedded: str, words: list[str]
) -> None:
    collector = new_collector(embedded, **settings)
    message = collector.refuse()
    assert all(word in message for word in words), message
    check_nothing_is_left(collector)


def test_a_second_collector_of_the_node_is_refused_and_the_first_goes_on(
    new_collector: NewCollector, embedded: str
) -> None:
    first = new_collector(embedded, KNI_UPLINKS="v0=xdp")
    first.start()
    before = attached(first.veths, "v0")
    message = new_collector(embedded, KNI_UPLINKS="v0=xdp").refuse()
    assert f"another collector of node {first.node} holds" in message
    assert "stop it first" in message
    assert attached(first.veths, "v0") == before
    assert first.status()["is_healthy"]


def test_another_nodes_collector_on_the_same_interface_is_refused(
    node: Veths, new_collector: NewCollector, embedded: str
) -> None:
    first = new_collector(embedded, KNI_UPLINKS="v0=tc")
    first.start()
    before = attached(node, "v0")
    second = new_collector(embedded, KNI_UPLINKS="v0=tc")
    second.node = "kc-other"
    message = second.refuse()
    assert f"kubenetinsight:{first.node}" in message
    assert attached(node, "v0") == before


def test_another_xdp_program_is_not_replaced(node: Veths, new_collector: NewCollector, embedded: str) -> None:
    first = new_collector(embedded, KNI_UPLINKS="v0=xdp")
    first.start()
    node.add("v1")
    pin = next(first.bpffs.glob("*/v*/xdp_ingress"))
    run("ip", "-n", node.node, "link", "set", "dev", "v1", "xdpdrv", "pinned", str(pin))
    before = attached(node, "v1")
    second = new_collector(embedded, KNI_UPLINKS="v1=xdp")
    second.node = "kc-other"
    message = second.refuse()
    assert "native XDP can't be attached to v1: another XDP program" in message
    assert "KNI_UPLINKS=v1=tc" in message
    assert attached(node, "v1") == before


def test_a_port_that_is_taken_is_told(new_collector: NewCollector, embedded: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        collector = new_collector(embedded, KNI_UPLINKS="v0=xdp", KNI_COLLECTOR_LISTEN=f"127.0.0.1:{port}")
        message = collector.refuse()
    assert f"127.0.0.1:{port} can't be listened on" in message
    assert "KNI_COLLECTOR_LISTEN" in message
    check_nothing_is_left(collector)


def test_a_missing_capability_is_told_by_its_name(new_collector: NewCollector, embedded: str) -> None:
    collector = new_collector(embedded, KNI_UPLINKS="v0=xdp")
    without = ["setpriv", "--bounding-set", "-sys_admin,-perfmon,-bpf,-net_admin", "--inh-caps", "-all"]
    done = subprocess.run(
        [*without, *collector.command()],
        env=collector.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON" in done.stderr
    assert "run it as root" in done.stderr
    check_nothing_is_left(collector)
