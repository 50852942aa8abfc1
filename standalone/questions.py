"""What a newcomer may want to know to the SQL that answers it: `demo` and `up` show both, to be asked again."""

from typing import Final

EXAMPLE: Final = "SELECT * FROM workload_edges WHERE window > now() - INTERVAL 15 MINUTE LIMIT 5 FORMAT PrettyCompact"
"""For curl."""
QUESTIONS: Final = {
    "Which round trips are slow?": (
        "SELECT src_workload, dst_workload, sum(rtt_count) AS samples, "
        "latency_quantile_ns(0.5, sumMap(rtt_histogram)) / 1e6 AS p50_ms, "
        "latency_quantile_ns(0.99, sumMap(rtt_histogram)) / 1e6 AS p99_ms "
        "FROM window_latency WHERE authoritative AND window > now() - INTERVAL 15 MINUTE "
        "GROUP BY src_workload, dst_workload HAVING samples > 0 ORDER BY p99_ms DESC LIMIT 5"
    ),
    "Who was refused, and who got no answer?": (
        "SELECT src_workload, dst_workload, dst_port, sum(connections_refused) AS refused, "
        "sum(connections_no_answer) AS no_answer FROM workload_edges WHERE window > now() - INTERVAL 15 MINUTE "
        "GROUP BY src_workload, dst_workload, dst_port HAVING refused + no_answer > 0 ORDER BY refused DESC"
    ),
    "What was dropped, where in the kernel, and why?": (
        "SELECT reason, call_site, src_workload, dst_workload, sum(packets) AS dropped FROM window_drops "
        "WHERE NOT benign AND window > now() - INTERVAL 15 MINUTE "
        "GROUP BY reason, call_site, src_workload, dst_workload ORDER BY dropped DESC LIMIT 5"
    ),
}
