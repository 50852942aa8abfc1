"""The kernel's netstat text to the number of connections lost in full listen queues."""

from pathlib import Path

import pytest

from collector.listen_overflows import ListenOverflows, parse_listen_overflows

NETSTAT = b"TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 23 45\nIpExt: InNoRoutes\nIpExt: 7\n"


def test_the_value_stands_below_its_name() -> None:
    assert parse_listen_overflows(NETSTAT) == 23


@pytest.mark.parametrize("text", [b"", b"TcpExt: Other\nTcpExt: 5\n"], ids=["nothing", "another counter"])
def test_a_kernel_without_the_counter_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="ListenOverflows"):
        parse_listen_overflows(text)


def test_the_counter_is_read_anew_each_time(tmp_path: Path) -> None:
    netstat = tmp_path / "netstat"
    netstat.write_bytes(NETSTAT)
    overflows = ListenOverflows(netstat)
    assert overflows.read() == 23
    netstat.write_bytes(NETSTAT.replace(b"23", b"24"))
    assert overflows.read() == 24
    overflows.close()
