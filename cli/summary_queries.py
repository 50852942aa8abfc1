"""The summary to SQL: its sections, each a question to ClickHouse."""

from typing import Final

from cli.queries import EDGES, Question

TOTALS: Final = Question(
    "Totals",
    """
SELECT
    sum(packets) + sum(reverse_packets) AS packets,
    sum(bytes) + sum(reverse_bytes) AS bytes,
    uniqExact(src_addr) AS sources,
    uniqExact(dst_addr) AS destinations,
    sum(connections_opened) AS opened,
    sum(connections_closed) AS closed,
    sum(connections_refused) AS refused,
    sum(connections_no_answer) AS no_answer,
    sum(retransmits) + sum(reverse_retransmits) AS retransmits
FROM flows
WHERE authoritative AND time_end >= now() - toIntervalSecond({since:UInt32})
""",
)

PROTOCOLS: Final = Question(
    "Protocols",
    """
SELECT
    protocol_name(protocol) AS protocol,
    sum(packets) AS packets,
    sum(bytes) AS bytes,
    round(100 * bytes / sum(bytes) OVER (), 1) AS percent
FROM traffic_summary
WHERE window >= now() - toIntervalSecond({since:UInt32})
GROUP BY protocol
ORDER BY bytes DESC
""",
)

PACKET_SIZES: Final = Question(
    "Packet sizes (at every interface)",
    """
SELECT
    if(bucket_bytes = 0, 'larger', concat('up to ', toString(bucket_bytes))) AS frame_bytes,
    sumIf(packets, protocol_class = 'tcp') AS tcp,
    sumIf(packets, protocol_class = 'udp') AS udp,
    sumIf(packets, protocol_class = 'icmp') AS icmp,
    sumIf(packets, protocol_class = 'other') AS other
FROM packet_sizes
WHERE window >= now() - toIntervalSecond({since:UInt32})
GROUP BY bucket_bytes
HAVING tcp + udp + icmp + other > 0
ORDER BY if(bucket_bytes = 0, 4294967295, bucket_bytes)
""",
)

LATENCY: Final = Question(
    "Latency",
    """
SELECT
    kind,
    sum(count) AS samples,
    round(latency_quantile_ns(0.5, sumMap(histogram)) / 1e6, 3) AS p50_ms,
    round(latency_quantile_ns(0.95, sumMap(histogram)) / 1e6, 3) AS p95_ms,
    round(latency_quantile_ns(0.99, sumMap(histogram)) / 1e6, 3) AS p99_ms,
    round(max(max_ns) / 1e6, 3) AS max_ms
FROM latencies
WHERE authoritative AND window >= now() - toIntervalSecond({since:UInt32})
GROUP BY kind
ORDER BY kind
""",
)

DROPS: Final = Question(
    "Drops by the kernel",
    """
SELECT
    reason,
    call_site,
    if(benign, 'yes', '') AS benign,
    sum(packets) AS dropped,
    argMax(edge, packets) AS mostly
FROM
(
    SELECT
        reason,
        call_site,
        benign,
        concat(end_name(src_namespace, src_workload), ' → ', end_name(dst_namespace, dst_workload)) AS edge,
        sum(packets) AS packets
    FROM window_drops
    WHERE window >= now() - toIntervalSecond({since:UInt32})
    GROUP BY reason, call_site, benign, edge
)
GROUP BY reason, call_site, benign
ORDER BY benign, dropped DESC
LIMIT {limit:UInt32}
""",
)

COMPLETENESS: Final = Question(
    "Completeness",
    """
WITH arraySort(groupArrayIf((window, reason), reason != '')) AS others
SELECT
    node,
    countIf(complete) AS complete,
    count() AS windows,
    sum(lost_packets) AS lost_packets,
    sum(lost_drops) AS lost_drops,
    sum(missing_records) AS missing_records,
    sum(late_records) AS late,
    sum(unresolved_records) AS unresolved,
    arrayMap(
        same -> CAST(
            (same[1].2, same[1].1, same[-1].1 + 10),
            'Tuple(reason String, since DateTime(''UTC''), until DateTime(''UTC''))'),
        arraySplit(
            (other, place) -> place > 1 AND (other.2 != others[place - 1].2 OR other.1 != others[place - 1].1 + 10),
            others, arrayEnumerate(others))) AS incomplete
FROM window_completeness_since(since = now() - toIntervalSecond({since:UInt32}))
WHERE window >= now() - toIntervalSecond({since:UInt32}) AND window < now() - toIntervalSecond(15)
GROUP BY node
ORDER BY node
""",
)

SUMMARY: Final = (TOTALS, PROTOCOLS, PACKET_SIZES, EDGES, LATENCY, DROPS, COMPLETENESS)
