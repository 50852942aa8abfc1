"""C sources to pinned programs and maps: complete, or nothing and one message."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.loader import flow_macros, layout_name
from collector.map_values import VALUES
from collector.pins import LAYOUT_PREFIX, LOADING, LockedError, NodeDirectory, Pins, PinsError, remove
from collector.settings import read_settings
from tests.kernel.collector_pins import SMALL, load, mounted, pinned


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with mounted(tmp_path_factory.mktemp("bpf") / "fs") as directory:
        yield directory


@pytest.fixture(scope="module")
def pins(node: Path) -> Iterator[Pins]:
    with pinned(node, f"{LAYOUT_PREFIX}1-test") as opened:
        yield opened


def test_what_is_pinned_has_the_values_that_are_read_and_a_ring_id_of_128_bits(pins: Pins) -> None:
    pins.check(VALUES)
    assert set(pins.ring_ids) == {"flows_ring", "drops_ring"}
    assert all(len(ring_id) == 32 and int(ring_id, 16) for ring_id in pins.ring_ids.values())
    assert pins.ring_ids["flows_ring"] != pins.ring_ids["drops_ring"]


def test_a_map_of_another_shape_is_refused_before_it_is_read(pins: Pins) -> None:
    with pytest.raises(PinsError, match="holds values of 8 bytes where 520 belong"):
        pins.check({"slots": VALUES["hook_totals"]})


def test_facts_of_a_layout_survive_this_process(pins: Pins) -> None:
    pins.set_counting_since(5_000)
    pins.set_counting_since(9_000)
    again = Pins(pins.directory)
    assert again.counting_since_ns == 9_000
    again.close()


def test_where_nothing_can_be_pinned_one_message_says_so_and_nothing_is_left(tmp_path: Path) -> None:
    loaded = load(tmp_path / "no-bpffs")
    assert loaded.returncode == 1
    (message,) = loaded.stderr.splitlines()
    assert "takes no pins" in message
    assert "KNI_BPFFS" in message
    assert not (tmp_path / "no-bpffs").exists()


def test_sources_or_sizes_that_differ_give_another_layout() -> None:
    small = read_settings(SMALL)
    larger = read_settings({**SMALL, "KNI_CONVERSATIONS": "257"})
    elsewhere = read_settings({**SMALL, "KNI_UPLINKS": "eth7", "KNI_KAFKA": "a:1"})
    assert layout_name(small) != layout_name(larger)
    assert layout_name(small) == layout_name(elsewhere)
    assert "-DKNI_CONVERSATIONS=512" in flow_macros(larger), "the table's size is a power of two"


def test_a_nodes_directory_is_held_once_and_forgets_what_a_killed_loader_left(node: Path, pins: Pins) -> None:
    held = NodeDirectory(node.parent, node.name)
    with pytest.raises(LockedError, match="another collector of node kc-kernel holds"):
        NodeDirectory(node.parent, node.name)
    (node / LOADING).mkdir()
    assert held.layouts() == [pins.directory.name]
    assert not (node / LOADING).exists()
    held.close()
    assert pins.directory.exists(), "what is pinned outlives who held it"


def test_the_name_of_a_node_may_have_dots_where_a_pin_may_not(node: Path) -> None:
    held = NodeDirectory(node.parent, "worker-1.example.org")
    assert held.path.is_dir()
    held.close()
    assert not held.path.exists()


def test_a_retired_layout_is_closed_by_who_comes_next(node: Path) -> None:
    with pinned(node, f"{LAYOUT_PREFIX}1-old") as old:
        old.retire()
        assert old.directory.name.startswith("closing-v1-old-")
        assert not (node / "v1-old").exists()
    remove(old.directory)
