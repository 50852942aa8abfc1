"""One scenario to all end-to-end tests: it takes a minute, and nothing in it changes once it is over."""

from collections.abc import Iterator

import pytest

from tests.e2e.scenario import Scenario, scenario


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    """Give the lab's traffic with offloads off, as rows, ledgers and captures."""
    with scenario(tmp_path_factory.mktemp("e2e"), offloads=False, lab_id="e2e") as left:
        yield left
