"""Questions to SQL: what each command asks ClickHouse; any client that fills {name:Type} can ask the same."""

from typing import Final, NamedTuple


class Question(NamedTuple):
    """A title for people and the SQL that answers it."""

    title: str
    sql: str


EDGES: Final = Question(
    "Workloads, client to server",
    """
SELECT
    client, server, service, protocol, port, bytes, reverse_bytes, packets, reverse_packets,
    opened, refused, no_answer, retransmits,
    if(is_timed, handshake_ms, nan) AS handshake_p50_ms,
    if(is_timed, rtt_ms[1], nan) AS rtt_p50_ms,
    if(is_timed, rtt_ms[2], nan) AS rtt_p95_ms,
    if(is_timed, rtt_ms[3], nan) AS rtt_p99_ms
FROM
(
    SELECT
        end_name(src_namespace, src_workload) AS client,
        end_name(dst_namespace, dst_workload) AS server,
        dst_service AS service,
        protocol_name(protocol) AS protocol,
        dst_port AS port,
        sum(bytes) AS bytes,
        sum(reverse_bytes) AS reverse_bytes,
        sum(packets) AS packets,
        sum(reverse_packets) AS reverse_packets,
        sum(connections_opened) AS opened,
        sum(connections_refused) AS refused,
        sum(connections_no_answer) AS no_answer,
        sum(retransmits) AS retransmits
    FROM workload_edges
    WHERE window >= now() - toIntervalSecond({since:UInt32})
        AND ({namespace:String} IN ('', src_namespace, dst_namespace))
    GROUP BY client, server, service, protocol, port
) AS edge
LEFT JOIN
(
    SELECT
        end_name(src_namespace, src_workload) AS client,
        end_name(dst_namespace, dst_workload) AS server,
        dst_service AS service,
        protocol_name(protocol) AS protocol,
        dst_port AS port,
        1 AS is_timed,
        round(latency_quantile_ns(0.5, sumMap(handshake_histogram)) / 1e6, 3) AS handshake_ms,
        arrayMap(
            level -> round(latency_quantile_ns(level, sumMap(rtt_histogram)) / 1e6, 3), [0.5, 0.95, 0.99]) AS rtt_ms
    FROM window_latency
    WHERE authoritative AND window >= now() - toIntervalSecond({since:UInt32})
    GROUP BY client, server, service, protocol, port
) AS latency USING (client, server, service, protocol, port)
ORDER BY bytes + reverse_bytes DESC
LIMIT {limit:UInt32}
""",
)

CONNECTIONS: Final = Question(
    "Connections",
    """
SELECT
    min(time_start) AS first_seen,
    round((max(toUnixTimestamp64Nano(time_end)) - min(toUnixTimestamp64Nano(time_start))) / 1e9, 3) AS seconds,
    protocol_name(protocol) AS protocol,
    concat(any(if(src_pod = '', end_name(src_namespace, src_workload), concat(src_namespace, '/', src_pod)))) AS client,
    address_text(src_addr) AS client_address,
    src_port AS client_port,
    concat(any(if(dst_pod = '', end_name(dst_namespace, dst_workload), concat(dst_namespace, '/', dst_pod)))) AS server,
    address_text(dst_addr) AS server_address,
    dst_port AS server_port,
    multiIf(
        sum(connections_refused) > 0 AND sum(connections_opened) = 0, 'refused',
        sum(connections_no_answer) > 0 AND sum(connections_opened) = 0, 'no answer',
        sum(connections_closed) >= greatest(sum(connections_opened), 1), 'closed',
        flows.protocol = 6, 'established',
        'active') AS state,
    sum(packets) AS packets,
    sum(bytes) AS bytes,
    sum(reverse_packets) AS reverse_packets,
    sum(reverse_bytes) AS reverse_bytes,
    round(max(handshake_syn_ack_ns + handshake_ack_ns) / 1e6, 3) AS handshake_ms,
    round(if(sum(rtt_count) = 0, nan, sum(rtt_sum_ns) / sum(rtt_count)) / 1e6, 3) AS rtt_mean_ms,
    sum(retransmits) + sum(reverse_retransmits) AS retransmits
FROM flows
WHERE authoritative AND time_end >= now() - toIntervalSecond({since:UInt32})
    AND ({namespace:String} IN ('', src_namespace, dst_namespace))
GROUP BY flows.protocol, src_addr, src_port, dst_addr, dst_port, node, interface
ORDER BY first_seen DESC
LIMIT {limit:UInt32}
""",
)

FLOWS: Final = Question(
    "Flow records",
    """
SELECT
    time_end,
    node,
    interface,
    reporter,
    protocol_name(protocol) AS protocol,
    end_name(src_namespace, src_workload) AS client,
    concat(address_text(src_addr), ' ', toString(src_port)) AS client_address,
    end_name(dst_namespace, dst_workload) AS server,
    concat(address_text(dst_addr), ' ', toString(dst_port)) AS server_address,
    packets,
    bytes,
    reverse_packets,
    reverse_bytes
FROM flows
WHERE time_end >= now() - toIntervalSecond({since:UInt32})
    AND ({namespace:String} IN ('', src_namespace, dst_namespace))
ORDER BY time_end DESC
LIMIT {limit:UInt32}
""",
)

NODES: Final = Question(
    "Nodes",
    """
SELECT
    node,
    topic,
    argMax(ring_id, created) AS ring,
    max(next) AS records,
    round(dateDiff('millisecond', max(exported_until), now64(3)) / 1000, 1) AS seconds_behind,
    argMax(held_packets, created) AS held_packets,
    sum(gap) AS missing_records,
    arrayStringConcat(arrayMap(
        (name, count) -> concat(name, '=', toString(count)),
        mapKeys(argMax(counters, created)), mapValues(argMax(counters, created))), ' ') AS counters
FROM completeness
WHERE at > now() - INTERVAL 1 HOUR
GROUP BY node, topic
ORDER BY node, topic
""",
)
