"""Environment to settings: where the command finds ClickHouse and Kafka."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli.complaint import Complaint


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to ask. The same names as in the other programs."""

    clickhouse: str
    clickhouse_database: str
    clickhouse_user: str
    clickhouse_password: str
    kafka: str
    now_ns: Callable[[], int]


def read_settings(now_ns: Callable[[], int]) -> Settings:
    """Settings from KNI_… variables. Raises: Complaint when the password file cannot be read."""
    return Settings(
        clickhouse=os.environ.get("KNI_CLICKHOUSE", "http://127.0.0.1:8123"),
        clickhouse_database=os.environ.get("KNI_CLICKHOUSE_DATABASE", "kubenetinsight"),
        clickhouse_user=os.environ.get("KNI_CLICKHOUSE_USER", "default"),
        clickhouse_password=_read_secret(os.environ.get("KNI_CLICKHOUSE_PASSWORD_FILE", "")),
        kafka=os.environ.get("KNI_KAFKA", "127.0.0.1:9092"),
        now_ns=now_ns,
    )


def _read_secret(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Complaint(
            f"KNI_CLICKHOUSE_PASSWORD_FILE: cannot read {path} ({error.strerror}): name a readable file"
        ) from error
