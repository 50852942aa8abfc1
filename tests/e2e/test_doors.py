"""Every door on the lab's traffic: documented queries, dashboard panels, topics, examples, command, metrics."""

import json
import re

import pytest

from tests.documented_queries import PANELS, QUERIES, expand, title_of


@pytest.mark.parametrize("query", QUERIES, ids=title_of)
def test_a_documented_query_runs_and_finds_something(lab, query):
    assert lab.ask(query.replace("INTERVAL 15 MINUTE", "INTERVAL 1 HOUR"))


@pytest.mark.parametrize(("title", "sql"), PANELS, ids=[f"{title} {n}" for n, (title, _) in enumerate(PANELS)])
def test_a_panel_of_the_dashboard_shows_something(lab, title, sql):
    expanded = expand(sql)

    assert "$" not in expanded, title
    assert lab.ask(expanded)


def test_the_overview_has_the_panels_it_should():
    assert len({title for title, _ in PANELS}) >= 8


def revision(row: dict[str, object]) -> int:
    return int(str(row["revision"]))


def test_the_windows_topic_ends_with_the_numbers_of_sql(lab):
    newest: dict[tuple[object, ...], dict[str, object]] = {}
    for row in lab.doors.windows:
        if row["table"] == "window_protocols":
            key = tuple(row[name] for name in KEY)
            if revision(row) >= revision(newest.get(key, row)):
                newest[key] = row
    stored = lab.ask(f"""
        SELECT formatDateTime(window, '%Y-%m-%dT%H:%i:%SZ') AS start, {", ".join(KEY[1:])},
               sum(packets) AS packets, sum(bytes) AS bytes, sum(reverse_bytes) AS reverse_bytes,
               sum(connections_opened) AS connections_opened
        FROM window_protocols GROUP BY ALL""")  # noqa: S608 - the names are this file's own

    published = {key: tuple(row[name] for name in VALUES) for key, row in newest.items()}
    wanted = {(row["start"], *(row[name] for name in KEY[1:])): tuple(row[name] for name in VALUES) for row in stored}
    assert len(published) > 50
    assert {key: wanted.get(key) for key in published} == published


KEY = (
    "window",
    "src_namespace",
    "src_workload",
    "src_workload_kind",
    "dst_namespace",
    "dst_workload",
    "dst_workload_kind",
    "dst_service",
    "protocol",
    "dst_port",
    "reporter",
    "authoritative",
)
VALUES = ("packets", "bytes", "reverse_bytes", "connections_opened")


def test_the_examples_print_what_the_topics_hold(lab):
    rows = [json.loads(line) for line in lab.doors.windows_example]

    assert all({"table", "window", "revision", "complete"} <= row.keys() for row in rows)
    assert re.fullmatch(r"\[\(\d+, \d+\).*\]\n", lab.doors.flows_example[-1])


def test_status_tells_what_is_attached_where_and_how(lab):
    said = lab.doors.status
    assert said.returncode == 0, said.stderr
    rows = [json.loads(line) for line in said.stdout.splitlines()]

    attached = {(row["node"], row["interface"]): (row["ingress"], row["egress"]) for row in rows if "interface" in row}
    assert all(attached[f"node-{n}", "eth0"] == ("xdp", "tc") for n in (1, 2, 3))
    assert all(attached[place] == ("tc", "tc") for place in lab.captures if place[1] != "eth0")
    assert {row["node"] for row in rows if row.get("topic") == "kubenetinsight.flows"} == {"node-1", "node-2", "node-3"}


def test_the_summary_names_workloads_and_completeness(lab):
    said = lab.doors.summary

    assert said.returncode == 0, said.stderr
    for words in ("shop/web", "data/db", "NETFILTER_DROP", "Completeness", "node-3"):
        assert words in said.stdout


@pytest.mark.parametrize(
    "name",
    [
        "kubenetinsight_packets_total",
        "kubenetinsight_bytes_total",
        "kubenetinsight_protocol_packets_total",
        "kubenetinsight_frame_bytes_bucket",
        "kubenetinsight_dropped_packets_total",
        "kubenetinsight_latency_seconds_bucket",
        "kubenetinsight_collector_records_total",
    ],
)
def test_the_collector_exports_a_metric_with_a_value(lab, name):
    values = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", lab.doors.collector_metrics, re.MULTILINE)

    assert sum(map(float, values)) > 0


def test_the_aggregator_exports_its_progress(lab):
    assert re.search(r"^kubenetinsight_\w*records\w*_total(?:{.*})? [1-9]", lab.doors.aggregator_metrics, re.MULTILINE)
