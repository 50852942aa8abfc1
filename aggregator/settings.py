"""Environment to settings: everything the aggregator can be told, with defaults that fit one machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

KUBERNETES_MODES: Final = ("auto", "none", "in-cluster", "kubeconfig")


_URL: Final = re.compile(r"https?://[^/\s]+\S*")
_SERVER: Final = re.compile(r"[^\s,:]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}")
_DATABASE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SettingsError(ValueError):
    """A setting that cannot be used; the message says which, and what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where metrics and health are served."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the aggregator can be told. Each field is the environment variable KNI_ and its name."""

    kafka: str
    """Bootstrap servers, HOST:PORT, comma-separated."""
    clickhouse: str
    """URL of ClickHouse's HTTP interface."""
    clickhouse_database: str
    clickhouse_user: str
    clickhouse_password: str
    """What stands in the file that KNI_CLICKHOUSE_PASSWORD_FILE names; never in the environment itself."""
    kubernetes: str
    kubeconfig: str
    group: str
    """Kafka's consumer group: all workers of one installation."""
    flush_seconds: float
    grace_seconds: float
    """How long a range waits for a name for an address of the cluster."""
    drain_seconds: float
    """A stop takes as long as what has come needs to be stored, and no longer than this."""
    pod_cidrs: str
    service_cidrs: str
    cidr_labels: str
    listen: Listen

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Settings out of the environment. Raises: SettingsError."""

        def text(name: str, default: str) -> str:
            return environment.get(f"KNI_{name}", "") or default

        return cls(
            kafka=_to_servers(text("KAFKA", "127.0.0.1:9092")),
            clickhouse=_to_url(text("CLICKHOUSE", "http://127.0.0.1:8123")),
            clickhouse_database=_to_database(text("CLICKHOUSE_DATABASE", "kubenetinsight")),
            clickhouse_user=text("CLICKHOUSE_USER", "default"),
            clickhouse_password=_read_password(text("CLICKHOUSE_PASSWORD_FILE", "")),
            kubernetes=_to_choice(text("KUBERNETES", "auto")),
            kubeconfig=environment.get("KUBECONFIG", ""),
            group=text("GROUP", "kubenetinsight"),
            flush_seconds=_to_seconds("KNI_FLUSH_SECONDS", text("FLUSH_SECONDS", "1"), at_least=0.05),
            grace_seconds=_to_seconds("KNI_GRACE_SECONDS", text("GRACE_SECONDS", "1"), at_least=0.0),
            drain_seconds=_to_seconds("KNI_DRAIN_SECONDS", text("DRAIN_SECONDS", "24"), at_least=0.0),
            pod_cidrs=text("POD_CIDRS", ""),
            service_cidrs=text("SERVICE_CIDRS", ""),
            cidr_labels=text("CIDR_LABELS", ""),
            listen=_to_listen(text("AGGREGATOR_LISTEN", "127.0.0.1:9466")),
        )


def _to_url(value: str) -> str:
    if not _URL.fullmatch(value):
        raise SettingsError(f"KNI_CLICKHOUSE is {value!r}: set a URL such as http://127.0.0.1:8123")
    return value


def _to_servers(value: str) -> str:
    if not all(_SERVER.fullmatch(server.strip()) for server in value.split(",")):
        raise SettingsError(f"KNI_KAFKA is {value!r}: set HOST:PORT, or several with commas, such as 127.0.0.1:9092")
    return value


def _to_database(value: str) -> str:
    if not _DATABASE.fullmatch(value):
        raise SettingsError(f"KNI_CLICKHOUSE_DATABASE is {value!r}: use letters, digits and underscores")
    return value


def _to_choice(value: str) -> str:
    if value not in KUBERNETES_MODES:
        raise SettingsError(f"KNI_KUBERNETES is {value!r}: set one of {', '.join(KUBERNETES_MODES)}")
    return value


def _to_seconds(name: str, value: str, *, at_least: float) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = float("nan")
    if not at_least <= seconds <= 60:
        raise SettingsError(f"{name} is {value!r}: set a number of seconds between {at_least} and 60")
    return seconds


def _to_listen(value: str) -> Listen:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"KNI_AGGREGATOR_LISTEN is {value!r}: set HOST:PORT such as 127.0.0.1:9466")
    return Listen(host=host, port=int(port))


def _read_password(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"KNI_CLICKHOUSE_PASSWORD_FILE: cannot read {path} ({error.strerror}): name a readable file"
        ) from error
