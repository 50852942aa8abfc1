"""Environment to settings: defaults, every form, and the message for each wrong value."""

from pathlib import Path

import pytest

from collector.settings import DEFAULT_ROUTE, VETHS, SettingsError, Uplink, read_settings

pytestmark = pytest.mark.unit


def test_an_empty_environment_gives_settings_that_fit_one_machine() -> None:
    settings = read_settings({"KNI_NODE": "n1"})
    assert settings.uplinks == (Uplink(DEFAULT_ROUTE, "auto"),)
    assert settings.pods == (VETHS,)
    assert settings.kafka == "127.0.0.1:9092"
    assert settings.listen == ("127.0.0.1", 9465)
    assert settings.bpffs == Path("/run/kubenetinsight/bpf")
    assert settings.netns is None


def test_every_variable_is_read() -> None:
    settings = read_settings(
        {
            "KNI_NODE": "worker-1.example.org",
            "KNI_KAFKA": "a:9092, b:9093",
            "KNI_UPLINKS": "eth0=xdp, bond*",
            "KNI_PODS": "cali*,lxc*",
            "KNI_EXCLUDE": "cali-old*",
            "KNI_BPFFS": "/sys/fs/bpf/kni",
            "KNI_NETNS": "/run/netns/node1",
            "KNI_NETNS_DIR": "/run/lab/node1",
            "KNI_CONVERSATIONS": "1024",
            "KNI_RING_BYTES": "65536",
            "KNI_ACTIVE_TIMEOUT_SECONDS": "5",
            "KNI_COLLECTOR_LISTEN": "[::1]:80",
        }
    )
    assert settings.node == "worker-1.example.org"
    assert settings.kafka == "a:9092, b:9093"
    assert settings.uplinks == (Uplink("eth0", "xdp"), Uplink("bond*", "auto"))
    assert settings.pods == ("cali*", "lxc*")
    assert settings.exclude == ("cali-old*",)
    assert (settings.bpffs, settings.netns) == (Path("/sys/fs/bpf/kni"), Path("/run/netns/node1"))
    assert settings.netns_directory == Path("/run/lab/node1")
    assert (settings.conversations, settings.ring_bytes, settings.active_timeout_seconds) == (1024, 65536, 5)
    assert settings.listen == ("::1", 80)


def test_lists_that_are_set_and_empty_stay_empty() -> None:
    settings = read_settings({"KNI_NODE": "n1", "KNI_UPLINKS": "", "KNI_PODS": " , "})
    assert (settings.uplinks, settings.pods) == ((), ())


@pytest.mark.parametrize(
    ("variable", "value", "advice"),
    [
        ("KNI_NODE", "a/b", "name that Kubernetes knows"),
        ("KNI_NODE", "..", "name that Kubernetes knows"),
        ("KNI_KAFKA", "broker", "HOST:PORT"),
        ("KNI_KAFKA", "broker:99999", "HOST:PORT"),
        ("KNI_KAFKA", "a:1,b", "HOST:PORT"),
        ("KNI_UPLINKS", "eth0=generic", "auto|xdp|tc"),
        ("KNI_UPLINKS", "=xdp", "auto|xdp|tc"),
        ("KNI_BPFFS", "bpf", "path from the root"),
        ("KNI_NETNS", "node1", "path from the root"),
        ("KNI_CONVERSATIONS", "many", "whole number from 64"),
        ("KNI_CONVERSATIONS", "3", "whole number from 64"),
        ("KNI_RING_BYTES", "100000", "power of two"),
        ("KNI_ACTIVE_TIMEOUT_SECONDS", "0", "whole number from 1"),
        ("KNI_ACTIVE_TIMEOUT_SECONDS", "-1", "whole number from 1"),
        ("KNI_COLLECTOR_LISTEN", "9465", "HOST:PORT"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable_and_what_to_do(variable: str, value: str, advice: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read_settings({"KNI_NODE": "n1", variable: value})
    assert variable in str(refusal.value)
    assert advice in str(refusal.value)
