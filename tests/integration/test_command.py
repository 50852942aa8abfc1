"""The command against a real ClickHouse: literal rows in, literal answers out, in each of the three forms."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import clickhouse_connect
import pytest

from aggregator.schema import apply_schema
from aggregator.settings import Settings
from standalone.servers import embedded_clickhouse

ROOT = Path(__file__).parents[2]

FLOWS = """
INSERT INTO flows (
    time_start, time_end, src_addr, dst_addr, src_port, dst_port, protocol, ip_version, packets, bytes, reverse_packets,
    reverse_bytes, connections_opened, connections_closed, connections_refused, connections_no_answer, retransmits,
    handshake_syn_ack_ns, handshake_ack_ns, rtt_count, rtt_sum_ns, src_namespace, src_workload, src_pod, dst_namespace,
    dst_workload, node, interface, authoritative)
VALUES
    (now64(9) - 20, now64(9) - 19, '::ffff:10.0.0.1', 'fd00::1', 40000, 80, 6, 6, 10, 1000, 5, 500, 1, 0, 0, 0, 2,
     300000, 200000, 2, 900000, 'shop', 'web', 'web-1', 'data', 'db', 'n1', 'veth1', 1),
    (now64(9) - 19, now64(9) - 18, '::ffff:10.0.0.1', 'fd00::1', 40000, 80, 6, 6, 1, 60, 1, 60, 0, 1, 0, 0, 0,
     0, 0, 0, 0, 'shop', 'web', 'web-1', 'data', 'db', 'n1', 'veth1', 1),
    (now64(9) - 20, now64(9) - 19, '::ffff:10.0.0.1', 'fd00::1', 40000, 80, 6, 6, 11, 1060, 6, 560, 1, 1, 0, 0, 2,
     0, 0, 0, 0, 'shop', 'web', 'web-1', 'data', 'db', 'n2', 'veth2', 0),
    (now64(9) - 9, now64(9) - 9, '::ffff:10.0.0.2', '::ffff:10.0.0.9', 41000, 81, 6, 4, 1, 74, 1, 54, 0, 0, 1, 0, 0,
     0, 0, 0, 0, 'batch', 'prober', 'prober-1', '', 'world', 'n1', 'veth3', 1),
    (now64(9) - 8, now64(9) - 8, '::ffff:10.0.0.2', '::ffff:10.0.0.8', 41001, 82, 6, 4, 2, 148, 0, 0, 0, 0, 0, 1, 0,
     0, 0, 0, 0, 'batch', 'prober', 'prober-1', '', 'world', 'n1', 'veth3', 1)
"""

WINDOWS = """
INSERT INTO window_protocols (
    window, src_namespace, src_workload, dst_namespace, dst_workload, protocol, dst_port, reporter, authoritative,
    flows, packets, bytes, reverse_packets, reverse_bytes, connections_opened)
VALUES
    (now() - 20, 'shop', 'web', 'data', 'db', 6, 80, 'source', 1, 2, 11, 1060, 6, 560, 1),
    (now() - 20, 'shop', 'web', 'data', 'db', 6, 80, 'destination', 0, 1, 11, 1060, 6, 560, 1),
    (now() - 10, 'shop', 'web', 'data', 'db', 17, 53, 'source', 1, 1, 1, 380, 0, 0, 0)
"""

LATENCY = """
INSERT INTO window_latency (
    window, src_namespace, src_workload, dst_namespace, dst_workload, protocol, dst_port, reporter, authoritative,
    rtt_count, rtt_sum_ns, rtt_min_ns, rtt_max_ns, rtt_histogram)
VALUES
    (now() - 20, 'shop', 'web', 'data', 'db', 6, 80, 'source', 1, 3, 3145728, 1048576, 1048576, map(320, 3)),
    (now() - 10, 'shop', 'web', 'data', 'db', 6, 80, 'source', 1, 1, 4194304, 4194304, 4194304, map(352, 1))
"""

DROPS = """
INSERT INTO window_drops (window, node, reason, call_site, src_namespace, src_workload, dst_workload, packets)
VALUES (now() - 20, 'n1', 'NETFILTER_DROP', 'nft_do_chain+0x1/0x2', 'shop', 'web', 'world', 7)
"""


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory):
    with embedded_clickhouse(tmp_path_factory.mktemp("clickhouse")) as url:
        apply_schema(Settings.from_environment({"KNI_CLICKHOUSE": url}))
        client = clickhouse_connect.get_client(dsn=url, database="kubenetinsight")
        for statement in (FLOWS, WINDOWS, LATENCY, DROPS):
            client.command(statement)
        client.close()
        yield url


def run(url: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KNI_CLICKHOUSE": url, "PYTHONPATH": str(ROOT)} | settings
    command = [sys.executable, "-m", "cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def objects(url: str, *arguments: str) -> list[dict[str, object]]:
    said = run(url, *arguments, "-o", "json")
    assert said.returncode == 0, said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.fixture(scope="module")
def summary(clickhouse):
    return objects(clickhouse, "summary")


def test_the_totals_of_the_summary_count_each_conversation_once(summary):
    (totals,) = [row for row in summary if row["section"] == "Totals"]

    assert totals == {
        "section": "Totals",
        "packets": 10 + 5 + 1 + 1 + 1 + 1 + 2,
        "bytes": 1000 + 500 + 60 + 60 + 74 + 54 + 148,
        "sources": 2,
        "destinations": 3,
        "opened": 1,
        "closed": 1,
        "refused": 1,
        "no_answer": 1,
        "retransmits": 2,
    }


def test_the_summary_breaks_traffic_down_by_protocol(summary):
    protocols = [row for row in summary if row["section"] == "Protocols"]

    assert [(row["protocol"], row["packets"], row["bytes"], row["percent"]) for row in protocols] == [
        ("TCP", 17, 1620, 81.0),
        ("UDP", 1, 380, 19.0),
    ]


def test_quantiles_are_those_of_the_added_histograms(summary):
    (latency,) = [row for row in summary if row["section"] == "Latency"]

    assert (latency["kind"], latency["samples"]) == ("rtt", 4)
    assert latency["p50_ms"] == pytest.approx(1.048576, rel=1 / 31)
    assert latency["p99_ms"] == pytest.approx(4.194304, rel=1 / 31)


def test_drops_are_told_with_reason_place_and_who_they_hit(summary):
    (drops,) = [row for row in summary if row["section"] == "Drops by the kernel"]

    assert (drops["reason"], drops["call_site"], drops["dropped"], drops["mostly"]) == (
        "NETFILTER_DROP",
        "nft_do_chain+0x1/0x2",
        7,
        "shop/web → world",
    )


def test_a_connection_is_one_row_with_its_state_and_both_directions(clickhouse):
    rows = objects(clickhouse, "connections")

    assert [(row["client"], row["server_port"], row["state"], row["bytes"], row["reverse_bytes"]) for row in rows] == [
        ("batch/prober-1", 82, "no answer", 148, 0),
        ("batch/prober-1", 81, "refused", 74, 54),
        ("shop/web-1", 80, "closed", 1060, 560),
    ]
    assert (rows[2]["client_address"], rows[2]["server_address"]) == ("10.0.0.1", "fd00::1")
    assert (rows[2]["handshake_ms"], rows[2]["rtt_mean_ms"]) == (0.5, 0.45)


def test_a_namespace_keeps_what_begins_or_ends_in_it(clickhouse):
    assert {row["client"] for row in objects(clickhouse, "connections", "--namespace", "batch")} == {"batch/prober-1"}
    assert {row["client"] for row in objects(clickhouse, "connections", "--namespace", "data")} == {"shop/web-1"}


def test_edges_come_as_csv_with_a_header(clickhouse):
    said = run(clickhouse, "edges", "-o", "csv")

    rows = list(csv.DictReader(io.StringIO(said.stdout)))
    assert [(row["client"], row["server"], row["port"], row["bytes"]) for row in rows] == [
        ("shop/web", "data/db", "80", "1060"),
        ("shop/web", "data/db", "53", "380"),
    ]
    assert [row["rtt_p50_ms"] for row in rows] == ["1.081", ""], "what was never timed has no time, not the time 0"


def test_a_table_for_people_names_its_units(clickhouse):
    said = run(clickhouse, "edges")

    assert "1.1 kB" in said.stdout
    assert "Workloads, client to server" in said.stdout


def test_a_range_without_rows_says_so(clickhouse):
    assert "nothing in this range" in run(clickhouse, "edges", "--since", "1s").stdout


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "message"),
    [
        (("sql", "SELECT nothing_like_it"), {}, 1, "refused the query: Code: 47"),
        (("summary",), {"KNI_CLICKHOUSE": "http://127.0.0.1:1"}, 1, "does not answer at http://127.0.0.1:1"),
        (("status",), {"KNI_KAFKA": "127.0.0.1:1"}, 1, "Kafka does not answer at 127.0.0.1:1"),
        (("summary",), {"KNI_CLICKHOUSE_PASSWORD_FILE": "/nowhere"}, 1, "cannot read /nowhere"),
        (("summary", "--since", "soon"), {}, 2, "'soon' is no length of time"),
        (("sumary",), {}, 2, "invalid choice"),
    ],
    ids=["bad SQL", "ClickHouse away", "Kafka away", "no password file", "no length of time", "no such command"],
)
def test_what_goes_wrong_is_one_message_and_a_status(clickhouse, arguments, settings, status, message):
    said = run(clickhouse, *arguments, **settings)

    assert (said.returncode, said.stdout) == (status, "")
    assert message in said.stderr
    assert "Traceback" not in said.stderr
