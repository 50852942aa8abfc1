"""Environment to the aggregator's settings: defaults, every form, and the message for each wrong value."""

from pathlib import Path

import pytest

from aggregator.settings import Listen, Settings, SettingsError

pytestmark = pytest.mark.unit


def test_an_empty_environment_and_empty_values_give_settings_that_fit_one_machine() -> None:
    settings = Settings.from_environment({})
    assert (settings.kafka, settings.clickhouse) == ("127.0.0.1:9092", "http://127.0.0.1:8123")
    assert (settings.clickhouse_database, settings.group, settings.kubernetes) == (
        "kubenetinsight",
        "kubenetinsight",
        "auto",
    )
    assert (settings.flush_seconds, settings.grace_seconds, settings.drain_seconds) == (1.0, 1.0, 24.0)
    assert settings.listen == Listen(host="127.0.0.1", port=9466)
    names = ("KAFKA", "CLICKHOUSE", "CLICKHOUSE_DATABASE", "GROUP", "KUBERNETES", "FLUSH_SECONDS", "AGGREGATOR_LISTEN")
    assert Settings.from_environment({f"KNI_{name}": "" for name in names}) == settings


def test_every_form_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    settings = Settings.from_environment(
        {
            "KNI_KAFKA": "a.example:9092, [::1]:9093",
            "KNI_CLICKHOUSE": "https://store.example:8443/path",
            "KNI_CLICKHOUSE_PASSWORD_FILE": str(secret),
            "KNI_GRACE_SECONDS": "0",
            "KNI_DRAIN_SECONDS": "5",
        }
    )
    assert (settings.kafka, settings.clickhouse) == ("a.example:9092, [::1]:9093", "https://store.example:8443/path")
    assert (settings.clickhouse_password, settings.grace_seconds, settings.drain_seconds) == ("hush", 0.0, 5.0)


@pytest.mark.parametrize(
    ("variable", "value", "advice"),
    [
        ("KNI_KAFKA", "broker", "set HOST:PORT, or several with commas"),
        ("KNI_KAFKA", "a:1,b", "set HOST:PORT, or several with commas"),
        ("KNI_KAFKA", "a:port", "set HOST:PORT, or several with commas"),
        ("KNI_CLICKHOUSE", "store:8123", "set a URL such as http://127.0.0.1:8123"),
        ("KNI_CLICKHOUSE", "http://", "set a URL such as http://127.0.0.1:8123"),
        ("KNI_CLICKHOUSE_DATABASE", "a b", "use letters, digits and underscores"),
        ("KNI_CLICKHOUSE_PASSWORD_FILE", "/none", "name a readable file"),
        ("KNI_KUBERNETES", "maybe", "set one of auto, none, in-cluster, kubeconfig"),
        ("KNI_FLUSH_SECONDS", "nan", "set a number of seconds between 0.05 and 60"),
        ("KNI_FLUSH_SECONDS", "0", "set a number of seconds between 0.05 and 60"),
        ("KNI_GRACE_SECONDS", "-1", "set a number of seconds between 0.0 and 60"),
        ("KNI_DRAIN_SECONDS", "61", "set a number of seconds between 0.0 and 60"),
        ("KNI_AGGREGATOR_LISTEN", "9466", "set HOST:PORT such as 127.0.0.1:9466"),
        ("KNI_AGGREGATOR_LISTEN", "a:70000", "set HOST:PORT such as 127.0.0.1:9466"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable_and_what_to_do(variable: str, value: str, *, advice: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({variable: value})
    assert str(refusal.value).startswith(variable)
    assert advice in str(refusal.value)
