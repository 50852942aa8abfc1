"""The lab's traffic as rows: who talked to whom, how long it took, what was dropped, how complete that is."""

from collections import Counter

from lab.cluster import BLACK_HOLE_PORT, CLOSED_PORT, DATABASE, FORBIDDEN, HTTP, SERVICES, SINK
from tests.e2e.scenario import TICKETS

NODE_PORTS = {service.node_port for service in SERVICES if service.node_port}


def ledger_sum(lab, count, **wanted):
    """Give the sum of a count over the clients' conversations with these attributes."""
    return sum(
        entry.counts[count]
        for entry in lab.ledger
        if entry.conversation.side == "client"
        and all(getattr(entry.conversation, name) == value for name, value in wanted.items())
    )


def test_every_pod_is_named_with_its_workload_also_those_that_lived_two_seconds(lab):
    rows = lab.ask("""
        SELECT DISTINCT namespace, pod, workload, kind
        FROM (
            SELECT src_namespace AS namespace, src_pod AS pod, src_workload AS workload, src_workload_kind AS kind
            FROM flows
            UNION ALL
            SELECT dst_namespace, dst_pod, dst_workload, dst_workload_kind FROM flows)
        WHERE pod != ''""")

    talked = {entry.conversation.me for entry in lab.ledger if sum(entry.counts.values())}
    wanted = {
        (pod.namespace, pod.name, pod.workload.name)
        for pod in lab.pods
        if not pod.host_network and pod.full_name in talked
    }
    assert len([name for name in wanted if name[1].startswith("ticket-")]) >= TICKETS
    assert wanted <= {(row["namespace"], row["pod"], row["workload"]) for row in rows}
    assert ("shop", "Deployment") in {(row["namespace"], row["kind"]) for row in rows}
    assert ("data", "StatefulSet") in {(row["namespace"], row["kind"]) for row in rows}


def test_no_address_of_the_cluster_is_without_a_name(lab):
    rows = lab.ask("""
        SELECT DISTINCT address_text(src_addr) AS source, address_text(dst_addr) AS destination, node, interface
        FROM flows
        WHERE src_attribution = 'unresolved' OR dst_attribution = 'unresolved'""")

    assert rows == []


def test_web_to_api_to_database_goes_through_cluster_ips_with_bytes_both_ways(lab):
    rows = lab.ask("""
        SELECT src_workload, dst_workload, dst_service, sum(bytes) AS sent, sum(reverse_bytes) AS received
        FROM workload_edges
        WHERE src_namespace = 'shop' AND src_workload IN ('web', 'api') AND dst_workload IN ('api', 'db')
        GROUP BY ALL""")

    edges = {(row["src_workload"], row["dst_workload"], row["dst_service"]): row for row in rows}
    for edge, port in ((("web", "api", "api"), 80), (("api", "db", "db"), DATABASE.number)):
        client = f"shop/{edge[0]}"
        sent = sum(
            entry.counts["bytes_sent"]
            for entry in lab.ledger
            if entry.conversation.side == "client"
            and entry.conversation.me.startswith(f"{client}-")
            and entry.conversation.port == port
        )
        assert sent > 0
        assert edges[edge]["sent"] > sent
        assert edges[edge]["received"] > 0
    addresses = lab.ask("""
        SELECT DISTINCT address_text(dst_addr) AS address FROM flows
        WHERE authoritative AND src_workload = 'web' AND dst_workload = 'api'""")
    assert {row["address"] for row in addresses} == {"10.96.0.30"}


def test_handshakes_and_round_trips_have_quantiles(lab):
    rows = lab.ask("""
        SELECT kind, sum(count) AS samples, latency_quantile_ns(0.5, sumMap(histogram)) / 1e6 AS p50_ms
        FROM latencies
        WHERE authoritative AND src_workload = 'web' AND dst_workload = 'api'
        GROUP BY kind""")

    found = {row["kind"]: row for row in rows}
    assert set(found) >= {"handshake", "rtt"}
    assert all(row["samples"] > 0 and 0 < row["p50_ms"] < 1000 for row in found.values())


def test_the_forbidden_datagrams_are_dropped_by_nft_and_told_exactly(lab):
    (row,) = lab.ask(
        """SELECT sum(packets) AS packets, groupUniqArray(reason) AS reasons, any(call_site) AS place
           FROM drops WHERE dst_port = {port:UInt16} AND protocol = 17 AND NOT benign""",
        port=FORBIDDEN.number,
    )

    assert row["packets"] == ledger_sum(lab, "datagrams_sent", protocol="udp", port=FORBIDDEN.number)
    assert row["reasons"] == ["NETFILTER_DROP"]
    assert row["place"].startswith("nft_do_chain+0x")


def test_the_full_buffer_drops_what_did_not_fit(lab):
    (row,) = lab.ask(
        """SELECT sum(packets) AS packets, groupUniqArray(reason) AS reasons, any(call_site) AS place
           FROM drops WHERE dst_port = {port:UInt16} AND reason = 'SOCKET_RCVBUFF'""",
        port=SINK.number,
    )

    assert 0 < row["packets"] < ledger_sum(lab, "datagrams_sent", protocol="udp", port=SINK.number)
    assert "udp" in row["place"]


def test_the_closed_port_refuses_and_the_black_hole_does_not_answer(lab):
    rows = lab.ask(
        """SELECT dst_port, sum(connections_refused) AS refused, sum(connections_no_answer) AS no_answer,
                  sum(connections_opened) AS opened
           FROM flows
           WHERE authoritative AND protocol = 6 AND dst_port IN ({closed:UInt16}, {hole:UInt16})
           GROUP BY dst_port""",
        closed=CLOSED_PORT,
        hole=BLACK_HOLE_PORT,
    )

    by_port = {row["dst_port"]: row for row in rows}
    assert by_port[CLOSED_PORT]["refused"] == ledger_sum(lab, "refused", port=CLOSED_PORT) > 0
    assert by_port[BLACK_HOLE_PORT]["no_answer"] == ledger_sum(lab, "unanswered", port=BLACK_HOLE_PORT) > 0
    assert by_port[CLOSED_PORT]["opened"] == by_port[BLACK_HOLE_PORT]["opened"] == 0


def test_every_tcp_connection_is_opened_once(lab):
    rows = lab.ask("""
        SELECT dst_port, sum(connections_opened) AS opened FROM flows
        WHERE authoritative AND protocol = 6 GROUP BY dst_port""")

    counted: Counter[int] = Counter()
    for entry in lab.ledger:
        if entry.conversation.side == "client" and entry.conversation.protocol == "tcp":
            port = entry.conversation.port
            counted[HTTP.number if port in NODE_PORTS else port] += entry.counts["connections"]
    assert {row["dst_port"]: row["opened"] for row in rows if row["opened"]} == {
        port: number for port, number in counted.items() if number
    }


def test_every_window_of_every_node_is_complete_or_says_why(lab):
    rows = lab.ask("SELECT node, reason, complete, count() AS windows FROM window_completeness GROUP BY ALL")

    assert {row["node"] for row in rows} == {"node-1", "node-2", "node-3"}
    incomplete = {row["reason"] for row in rows if not row["complete"]}
    assert incomplete <= {"counting_began_late", "not_yet_exported"}  # the first window and the last
    assert sum(row["windows"] for row in rows if row["complete"]) >= 9


def test_the_totals_are_no_less_than_the_payload_sent(lab):
    (row,) = lab.ask("""
        SELECT sum(bytes) + sum(reverse_bytes) AS bytes FROM flows WHERE authoritative AND protocol IN (6, 17)""")

    payload = sum(
        entry.counts["bytes_sent"] + entry.counts["bytes_received"]
        for entry in lab.ledger
        if entry.conversation.side == "client" and entry.conversation.protocol in {"tcp", "udp"}
    )
    assert payload > 10_000_000
    assert row["bytes"] > payload


def test_what_the_hooks_saw_is_what_the_records_hold(lab):
    rows = lab.ask("""
        WITH hooks AS
        (
            SELECT node, interface, sum(accounted) AS accounted, sum(lost) AS lost
            FROM (
                SELECT node, interface, ring_id, ifindex, flow_direction,
                       (max(accounted_packets), max(accounted_bytes)) AS seen,
                       seen.1 AS accounted, max(lost_packets) AS lost
                FROM window_interfaces GROUP BY ALL)
            GROUP BY node, interface
        ),
        records AS
        (
            SELECT node, interface, sum(packets) + sum(reverse_packets) AS recorded FROM flows GROUP BY node, interface
        )
        SELECT node, interface, accounted, recorded, lost
        FROM hooks LEFT JOIN records USING (node, interface)
        WHERE accounted != recorded OR lost > 0""")

    assert rows == []
