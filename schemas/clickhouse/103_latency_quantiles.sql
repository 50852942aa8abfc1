-- window_latency with a row for each kind of latency that was measured.
CREATE OR REPLACE VIEW latencies AS
SELECT
    window,
    src_namespace,
    src_workload,
    src_workload_kind,
    dst_namespace,
    dst_workload,
    dst_workload_kind,
    dst_service,
    protocol,
    dst_port,
    reporter,
    authoritative,
    kind,
    count,
    sum_ns,
    min_ns,
    max_ns,
    histogram
FROM window_latency
ARRAY JOIN
    ['handshake', 'rtt', 'reverse_rtt'] AS kind,
    [handshake_count, rtt_count, reverse_rtt_count] AS count,
    [handshake_sum_ns, rtt_sum_ns, reverse_rtt_sum_ns] AS sum_ns,
    [handshake_min_ns, rtt_min_ns, reverse_rtt_min_ns] AS min_ns,
    [handshake_max_ns, rtt_max_ns, reverse_rtt_max_ns] AS max_ns,
    [handshake_histogram, rtt_histogram, reverse_rtt_histogram] AS histogram
WHERE count > 0;

-- Per window, edge and kind of latency: quantiles in ms. For other groupings or ranges add histograms up with sumMap and
-- call latency_quantile_ns on the sum: quantiles themselves must not be averaged.
CREATE OR REPLACE VIEW latency_quantiles AS
SELECT
    window,
    src_namespace,
    src_workload,
    dst_namespace,
    dst_workload,
    dst_service,
    dst_port,
    kind,
    sum(count) AS samples,
    sum(sum_ns) / sum(count) / 1e6 AS mean_ms,
    min(min_ns) / 1e6 AS min_ms,
    latency_quantile_ns(0.5, sumMap(histogram)) / 1e6 AS p50_ms,
    latency_quantile_ns(0.95, sumMap(histogram)) / 1e6 AS p95_ms,
    latency_quantile_ns(0.99, sumMap(histogram)) / 1e6 AS p99_ms,
    max(max_ns) / 1e6 AS max_ms
FROM latencies
WHERE authoritative
GROUP BY window, src_namespace, src_workload, dst_namespace, dst_workload, dst_service, dst_port, kind;
