"""Source tree to its house rules: what no linter holds."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("aggregator", "cli", "collector", "lab", "schemas", "standalone")
MODULES = sorted(path for program in PROGRAMS for path in (ROOT / program).rglob("*.py"))
TEST_MODULES = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
ONE_FILE_KNOWS = ("aiokafka", "bcc", "chdb", "clickhouse_connect", "confluent_kafka", "faust", "kubernetes")
FORBIDDEN_NAMES = re.compile(r"utils?|helpers?|common|base|managers?|misc")
MAX_LINES = 250


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(path: Path) -> set[str]:
    """Give the top-level names of everything a module imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def calls_of(path: Path) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("library", ONE_FILE_KNOWS)
@pytest.mark.parametrize("program", ["aggregator", "cli", "collector", "standalone"])
def test_at_most_one_file_of_a_program_knows_a_library(program: str, library: str) -> None:
    knowing = [name_of(path) for path in MODULES if path.is_relative_to(ROOT / program) and library in imports_of(path)]
    assert len(knowing) <= 1, f"{library} is known in {program} by {', '.join(knowing)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_one_step_and_its_first_line_says_from_what_to_what(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    first_line = docstring.partition("\n")[0]
    assert path.name == "__init__.py" or re.search(r"\bto\b", first_line), f"first line: {first_line!r}"


def test_no_source_file_is_longer_than_one_step_needs() -> None:
    sources = [*MODULES, *TEST_MODULES, *(ROOT / "bpf").rglob("*.[ch]"), *(ROOT / "benchmarks").rglob("*.py")]
    lines = {name_of(path): len(path.read_text().splitlines()) for path in sources}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_no_file_is_named_after_what_it_is_instead_of_what_it_does() -> None:
    assert [name_of(path) for path in (*MODULES, *TEST_MODULES) if FORBIDDEN_NAMES.fullmatch(path.stem)] == []


def test_tests_wait_for_conditions_and_never_skip() -> None:
    forbidden = re.compile(r"(^|\.)(sleep|skip|skipif|xfail|importorskip)$")
    found = {name_of(path): sorted(filter(forbidden.search, calls_of(path))) for path in TEST_MODULES}
    assert {name: calls for name, calls in found.items() if calls} == {}
