"""Environment to the settings of one machine's system, and to the environment that its programs are started with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NEEDED: Final = ("HOME", "LANG", "PATH", "TMPDIR", "TZ")
_NEEDED_BEGIN: Final = ("LC_", "PYTHON")
"""What interpreters and libraries look at; names of variables with secrets begin otherwise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `up` is told: with `kafka` or `clickhouse` set, that server is used and no embedded one is started."""

    data: Path = Path("data")
    kafka: str | None = None
    clickhouse: str | None = None
    interfaces: tuple[str, ...] = ()
    kafka_listen: str = "127.0.0.1:9092"
    clickhouse_listen: str = "127.0.0.1:8123"
    collector_listen: str = "127.0.0.1:9465"
    aggregator_listen: str = "127.0.0.1:9466"


def from_environment() -> Settings:
    """Settings from the KNI_ variables, defaults for those that are not set."""
    environment = os.environ
    default = Settings()
    return Settings(
        data=Path(environment.get("KNI_DATA", default.data)),
        kafka_listen=environment.get("KNI_KAFKA_LISTEN", default.kafka_listen),
        clickhouse_listen=environment.get("KNI_CLICKHOUSE_LISTEN", default.clickhouse_listen),
        collector_listen=environment.get("KNI_COLLECTOR_LISTEN", default.collector_listen),
        aggregator_listen=environment.get("KNI_AGGREGATOR_LISTEN", default.aggregator_listen),
    )


def child_environment(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment with `settings` over it, fit to start this project's programs from any directory."""
    here = str(Path(__file__).parents[1])
    search_path = os.pathsep.join(part for part in (here, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": search_path, **settings}


def needed_environment() -> tuple[dict[str, str], bool]:
    """What a server of this project needs of this process's environment, and whether there is more in it."""
    needed = {name: value for name, value in os.environ.items() if name in _NEEDED or name.startswith(_NEEDED_BEGIN)}
    return needed, len(needed) < len(os.environ)


def use_for_temporary_files(directory: Path) -> None:
    """Have libraries of this process put temporary files there: call it before they are loaded."""
    os.environ["TMPDIR"] = str(directory)
