"""Environment to settings: where the command finds ClickHouse and Kafka."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.complaint import Complaint

_URL: Final = re.compile(r"https?://[^/\s]+\S*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SERVERS: Final = re.compile(r"[^\s,]+:\d{1,5}(,\s*[^\s,]+:\d{1,5})*")


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
    """Settings from KNI_… variables. Raises: Complaint where one cannot be used, or the password file not be read."""
    return Settings(
        clickhouse=_read("KNI_CLICKHOUSE", "http://127.0.0.1:8123", form=_URL),
        clickhouse_database=_read("KNI_CLICKHOUSE_DATABASE", "kubenetinsight", form=_NAME),
        clickhouse_user=os.environ.get("KNI_CLICKHOUSE_USER") or "default",
        clickhouse_password=_read_secret(os.environ.get("KNI_CLICKHOUSE_PASSWORD_FILE", "")),
        kafka=_read("KNI_KAFKA", "127.0.0.1:9092", form=_SERVERS),
        now_ns=now_ns,
    )


def _read(variable: str, default: str, *, form: re.Pattern[str]) -> str:
    value = os.environ.get(variable) or default
    if not form.fullmatch(value):
        raise Complaint(f"{variable} is {value!r}: set something such as {default}")
    return value


def _read_secret(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Complaint(
            f"KNI_CLICKHOUSE_PASSWORD_FILE: cannot read {path} ({error.strerror}): name a readable file"
        ) from error
