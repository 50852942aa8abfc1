"""Events of the collector to lines: JSON for programs, words for people."""

import io
import json
import sys
from datetime import UTC, datetime

import pytest

from collector.logs import configure_logs, log

pytestmark = pytest.mark.unit


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_event_is_a_json_object_with_its_fields_level_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    log.warning("kafka_does_not_answer", error="Connection refused", attempts=3)
    line = json.loads(capsys.readouterr().err)
    told = datetime.fromisoformat(line.pop("timestamp"))
    assert abs((datetime.now(UTC) - told).total_seconds()) < 60
    assert line == {
        "event": "kafka_does_not_answer",
        "level": "warning",
        "error": "Connection refused",
        "attempts": 3,
    }


def test_on_a_terminal_an_event_is_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logs()
    log.info("attached", interface="v0")
    log.error("not_attached", interface="v1", reason="no such device")
    first, second = terminal.getvalue().splitlines()
    assert first.split(" ", 1)[1] == "info attached interface=v0"
    assert second.split(" ", 1)[1] == "error not_attached interface=v1 reason=no such device"
