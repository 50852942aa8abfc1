"""Settings to their names: programs, README, compose and manifests call each the same."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import aggregator.settings
import cli.settings
import collector.settings
import standalone.settings

ROOT = Path(__file__).parents[2]
README_ROW = re.compile(r"^\| *`(KNI_[A-Z_]+)`[^|]*\| *([^|]+?) *\|", re.MULTILINE)
IN_README = {"aggregator": "aggregator", "cli": "command", "collector": "collector"}
READERS: dict[str, Callable[[], object]] = {
    "aggregator": lambda: aggregator.settings.Settings.from_environment(os.environ),
    "cli": lambda: cli.settings.read_settings(lambda: 0),
    "collector": lambda: collector.settings.read_settings(os.environ),
    "standalone": standalone.settings.from_environment,
}


class Asked(dict[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]  # one signature of three
        self.names.add(key)
        return default


@pytest.fixture
def names_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], set[str]]:
    """Give the KNI_ variables that a program really reads."""

    def read(program: str) -> set[str]:
        asked = Asked()
        monkeypatch.setattr(os, "environ", asked)
        READERS[program]()
        monkeypatch.undo()
        return {name for name in asked.names if name.startswith("KNI_")}

    return read


def compose_environments() -> Iterator[tuple[str, set[str]]]:
    for service, spec in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].items():
        yield service, {name for name in spec.get("environment", {}) if name.startswith("KNI_")}


def manifest_environment(program: str) -> set[str]:
    """Give the KNI_ variables that the Kubernetes base sets for a program."""
    lines = (ROOT / f"k8s/base/{program}.env").read_text().splitlines()
    from_file = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    text = (ROOT / f"k8s/base/{program}.yaml").read_text()
    return from_file | set(re.findall(r"- name: (KNI_\w+)", text))


def listed_for(program: str) -> set[str]:
    """Give the settings in README's table whose second column names a program."""
    rows = README_ROW.findall((ROOT / "README.md").read_text())
    return {name for name, programs in rows if program in re.findall(r"\w+", programs)}


@pytest.mark.parametrize("program", IN_README)
def test_the_readme_lists_exactly_the_settings_that_a_program_reads(
    program: str, names_of: Callable[[str], set[str]]
) -> None:
    assert listed_for(IN_README[program]) == names_of(program)


def test_the_readme_lists_what_up_reads_besides_the_settings_of_its_programs(
    names_of: Callable[[str], set[str]],
) -> None:
    assert listed_for("up") == names_of("standalone") - names_of("collector") - names_of("aggregator")


def test_each_setting_has_one_row_in_the_readme() -> None:
    names = [name for name, _ in README_ROW.findall((ROOT / "README.md").read_text())]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("program", ["aggregator", "collector"])
def test_the_manifests_set_only_what_the_program_reads(program: str, names_of: Callable[[str], set[str]]) -> None:
    names = manifest_environment(program)
    assert {"KNI_KAFKA", f"KNI_{program.upper()}_LISTEN"} <= names <= names_of(program)


def test_compose_sets_only_what_each_program_reads(names_of: Callable[[str], set[str]]) -> None:
    program_of = {"schema": "aggregator", "aggregator": "aggregator", "collector": "collector"}
    unknown = {
        service: names - (names_of(program_of[service]) if service in program_of else set())
        for service, names in compose_environments()
    }
    assert {service: names for service, names in unknown.items() if names} == {}
