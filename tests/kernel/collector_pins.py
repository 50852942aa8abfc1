"""The loader to pins of a small layout, once for all tests of a module, and to an attacher on them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.bpffs import mount, unmount
from collector.pins import Pins, remove

ROOT = Path(__file__).parents[2]
SMALL = {"KNI_NODE": "kc-kernel", "KNI_CONVERSATIONS": "256", "KNI_RING_BYTES": "65536"}


def load(directory: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """The loader's run, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "collector.loader", str(directory)],
        env={**os.environ, **SMALL, **settings},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def mounted(path: Path) -> Iterator[Path]:
    """A BPF file system at `path`, with a node's directory in it."""
    path.mkdir()
    mount(path)
    node = path / "kc-kernel"
    node.mkdir()
    try:
        yield node
    finally:
        for layout in node.iterdir():
            if layout.name.startswith("clsact-"):
                layout.rmdir()
            else:
                remove(layout)
        assert unmount(path)


@contextmanager
def pinned(node: Path, name: str) -> Iterator[Pins]:
    """A loaded layout, open."""
    loaded = load(node / name)
    assert loaded.returncode == 0, loaded.stderr
    pins = Pins(node / name)
    try:
        yield pins
    finally:
        pins.close()
