"""Command lines and addresses to settings, or to one message that says what to do."""

from pathlib import Path

import pytest

from standalone.address import Address, UsageError, address_of, bound_socket, parse_address
from standalone.processes import python_module
from standalone.settings import Settings, child_environment
from standalone.up import parse, wanted


def test_an_address_is_a_host_and_a_port() -> None:
    assert parse_address("127.0.0.1:9092") == Address("127.0.0.1", 9092)
    assert parse_address("[::1]:0") == Address("::1", 0)
    assert (str(Address("::1", 80)), str(Address("localhost", 80))) == ("[::1]:80", "localhost:80")


@pytest.mark.parametrize("text", ["9092", ":9092", "host:", "host:x", "host:65536", "host:-1", "host:٣", ""])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not an address: write HOST:PORT, for example 127\.0\.0\.1:9092"):
        parse_address(text)


def test_a_taken_port_is_refused_and_the_message_names_the_option() -> None:
    with bound_socket(Address("127.0.0.1", 0), "--listen") as listener:
        taken = address_of(listener)
        with pytest.raises(UsageError, match=rf"cannot listen on {taken}: Address already in use.*with --listen"):
            bound_socket(taken, "--listen")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:80: Cannot assign requested address"):
        bound_socket(Address("192.0.2.1", 80), "--listen")


def test_without_arguments_everything_is_embedded_and_the_collector_chooses_the_interfaces() -> None:
    settings = parse([], Settings())
    assert settings == Settings()
    (collector,) = wanted(settings).collectors
    assert (collector.name, collector.listen, collector.settings) == ("collector", "127.0.0.1:9465", {})


def test_interfaces_become_the_collectors_uplinks() -> None:
    settings = parse(["--interface", "eth0=xdp", "--interface", "bond0"], Settings())
    (collector,) = wanted(settings).collectors
    assert collector.settings == {"KNI_UPLINKS": "eth0=xdp,bond0"}


def test_given_servers_and_the_data_directory_are_taken_over() -> None:
    settings = parse(["--kafka", "k:9092", "--clickhouse", "http://c:8123", "--data", "/x"], Settings())
    assert (settings.kafka, settings.clickhouse, settings.data) == ("k:9092", "http://c:8123", Path("/x"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--interface", "eth0=generic"], "--interface eth0=generic: write NAME, NAME=auto, NAME=xdp or NAME=tc"),
        (["--interface", "a,b"], "--interface a,b: write NAME"),
        (["--interface", "much-too-long-a-name"], "--interface much-too-long-a-name: write NAME"),
        (["--kafka", "broker"], "'broker' is not an address"),
        (["--clickhouse", "db:8123"], "--clickhouse db:8123: write http://HOST:PORT"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_to_write(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(arguments, Settings())
    assert str(refused.value).startswith(message)


def test_programs_are_started_with_this_environment_and_their_own_settings_over_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KNI_NODE", "outer")
    monkeypatch.setenv("KNI_KAFKA", "outer:9092")
    environment = child_environment({"KNI_NODE": "inner"})
    assert (environment["KNI_NODE"], environment["KNI_KAFKA"]) == ("inner", "outer:9092")
    assert Path(environment["PYTHONPATH"].split(":")[0], "standalone", "up.py").exists()


def test_programs_ignore_what_lies_in_the_working_directory() -> None:
    assert python_module("collector")[1:] == ("-P", "-m", "collector")
