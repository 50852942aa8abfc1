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
FROM window_latency
WHERE authoritative
GROUP BY window, src_namespace, src_workload, dst_namespace, dst_workload, dst_service, dst_port, kind
HAVING samples > 0;
