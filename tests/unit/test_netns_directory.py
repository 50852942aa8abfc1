"""A directory's files to watched namespaces: this process's own namespace stands in where a namespace is needed."""

import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.netns_directory import PATIENCE_NS, NetnsDirectory, NotANamespaceError, Watched

OWN = Path("/proc/self/ns/net")
OTHER = Path("/proc/self/ns/uts")
"""A namespace of another kind: for the directory one more inode of the same file system."""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[NetnsDirectory]:
    watched = NetnsDirectory(tmp_path / "netns")
    yield watched
    watched.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    path = tmp_path / "netns"
    path.mkdir()
    return path


def is_readable(directory: NetnsDirectory) -> bool:
    return bool(select.select([directory], [], [], 0)[0])


def test_without_the_directory_only_the_nodes_own_namespace_is_watched(directory: NetnsDirectory) -> None:
    assert directory.refresh(0) == ({OWN.stat().st_ino: Watched.NODE}, frozenset())
    assert directory.refresh(1) == ({}, frozenset())


def test_a_namespace_joins_with_its_file_and_leaves_with_it(files: Path, directory: NetnsDirectory) -> None:
    directory.refresh(0)
    (files / "pod").symlink_to(OTHER)
    assert is_readable(directory)
    assert directory.refresh(1) == ({OTHER.stat().st_ino: Watched.POD}, frozenset())
    assert not is_readable(directory)
    (files / "pod").unlink()
    assert is_readable(directory)
    assert directory.refresh(2) == ({}, frozenset({OTHER.stat().st_ino}))


def test_a_directory_that_appears_later_is_found_and_listened_to(tmp_path: Path, directory: NetnsDirectory) -> None:
    directory.refresh(0)
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / "pod").symlink_to(OTHER)
    assert directory.refresh(1).added == {OTHER.stat().st_ino: Watched.POD}
    (tmp_path / "netns" / "more").touch()
    assert is_readable(directory)


def test_a_namespace_with_two_names_stays_until_both_are_gone(files: Path, directory: NetnsDirectory) -> None:
    for name in ("one", "two"):
        (files / name).symlink_to(OTHER)
    directory.refresh(0)
    (files / "one").unlink()
    assert directory.refresh(1) == ({}, frozenset())
    (files / "two").unlink()
    assert directory.refresh(2).removed == {OTHER.stat().st_ino}


def test_the_nodes_own_namespace_stays_the_nodes_when_it_has_a_file_too(files: Path, directory: NetnsDirectory) -> None:
    (files / "node").symlink_to(OWN)
    assert directory.refresh(0).added == {OWN.stat().st_ino: Watched.NODE}
    (files / "node").unlink()
    assert directory.refresh(1) == ({}, frozenset())


def test_a_file_that_is_no_namespace_yet_is_waited_for_but_not_for_ever(files: Path, directory: NetnsDirectory) -> None:
    (files / "pod").touch()
    directory.refresh(10)
    assert directory.is_waiting
    (files / "pod").unlink()
    (files / "pod").symlink_to(OTHER)
    assert directory.refresh(11).added == {OTHER.stat().st_ino: Watched.POD}
    assert not directory.is_waiting
    (files / "never").touch()
    directory.refresh(12)
    directory.refresh(12 + PATIENCE_NS)
    assert not directory.is_waiting


def test_a_dangling_name_is_no_namespace(files: Path, directory: NetnsDirectory) -> None:
    (files / "gone").symlink_to(files / "absent")
    directory.refresh(0)
    assert directory.refresh(1) == ({}, frozenset())


@pytest.mark.parametrize("path", ["/etc/hostname", "/nonexistent"])
def test_a_path_that_is_no_namespace_is_refused_with_what_to_do(tmp_path: Path, path: str) -> None:
    with pytest.raises(NotANamespaceError, match=path):
        NetnsDirectory(tmp_path, Path(path))


def test_a_file_in_place_of_the_directory_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "netns"
    file.write_text("")
    with pytest.raises(NotANamespaceError, match=f"KNI_NETNS_DIR={file} is no directory; give one such as /run/netns"):
        NetnsDirectory(file)


def test_without_an_inotify_instance_left_the_error_says_which_limit(tmp_path: Path) -> None:
    """In a child process, because the limit on its descriptors is the nearest one."""
    script = (
        "import resource, sys; from pathlib import Path; from collector.netns_directory import NetnsDirectory;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); NetnsDirectory(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    found = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert found.returncode == 1
    assert "fs.inotify.max_user_instances" in found.stderr


def test_a_directory_that_may_not_be_listened_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        NetnsDirectory(tmp_path / ("x" * 300))
