-- Per edge and kind of latency: count, sum, extremes and a log-linear histogram of one window. Any quantile over any
-- grouping and range is one query: histograms add up with sumMap.
-- kind: handshake (SYN to ACK), rtt (client's data to the server's ACK), reverse_rtt (server's data to the client's ACK).
-- Bucket b holds [2^(b div 16) * (1 + (b mod 16) / 16), the next bucket's) ns: 16 buckets per octave, 3.1 % at most.
CREATE TABLE IF NOT EXISTS window_latency
(
    window DateTime('UTC'),
    src_namespace LowCardinality(String),
    src_workload LowCardinality(String),
    src_workload_kind LowCardinality(String),
    dst_namespace LowCardinality(String),
    dst_workload LowCardinality(String),
    dst_workload_kind LowCardinality(String),
    dst_service LowCardinality(String),
    protocol UInt8,
    dst_port UInt16,
    reporter LowCardinality(String),
    authoritative UInt8,
    kind LowCardinality(String),
    count SimpleAggregateFunction(sum, UInt64),
    sum_ns SimpleAggregateFunction(sum, UInt64),
    min_ns SimpleAggregateFunction(min, UInt64),
    max_ns SimpleAggregateFunction(max, UInt64),
    histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(window)
ORDER BY (window, src_namespace, src_workload, dst_namespace, dst_workload, src_workload_kind, dst_workload_kind, dst_service, protocol, dst_port, reporter, authoritative, kind)
TTL window + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
