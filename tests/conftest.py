"""Directory to mark, and machine to verdict: what the machine lacks is a failure that says so, never a skip."""

import os
import shutil
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from tests.deadline import Eventually
from tests.deadline import eventually as wait_for
from tests.lanes import Lane, Lanes, place_of

TESTS = Path(__file__).parent

PROGRAMS = {
    "unit": (),
    "kernel": ("cc", "ip", "nft", "tshark"),
    "integration": ("curl", "ip", "java"),
    "e2e": ("curl", "ip", "iperf3", "nft", "tcpdump", "tshark"),
}
NEEDS_ROOT = {"kernel", "integration", "e2e"}

settings.register_profile("whatever machine", deadline=None)
settings.load_profile("whatever machine")


def pytest_configure(config: pytest.Config) -> None:
    """Know the lanes, or be one."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Lane())
    elif config.option.numprocesses:
        config.pluginmanager.register(Lanes())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the directory it lies in; what takes long comes first."""
    for item in items:
        item.add_marker(kind_of(item))
    items.sort(key=lambda item: place_of(item.nodeid))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose kind cannot run on this machine."""
    missing = missing_for(kind_of(item))
    if missing:
        pytest.fail(missing, pytrace=False)


def kind_of(item: pytest.Item) -> str:
    """Give the directory under tests/ that a test lies in."""
    return item.path.relative_to(TESTS).parts[0]


@cache
def missing_for(kind: str) -> str:
    """Say what this machine lacks for tests of a kind; empty when nothing."""
    missing = [f"the program {name}" for name in PROGRAMS[kind] if shutil.which(name) is None]
    if kind in NEEDS_ROOT and os.geteuid() != 0:
        missing.insert(0, "root")
    return f"{kind} tests need {', '.join(missing)}: run `make test-{kind}`" if missing else ""


@pytest.fixture
def eventually() -> Eventually:
    """Wait for a condition with a deadline: `eventually(condition, within_seconds=5)` gives its first true value."""
    return wait_for
