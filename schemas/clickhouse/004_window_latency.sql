-- Per edge: its latencies of one window, each kind as count, sum, extremes and a log-linear histogram. Any quantile over any
-- grouping and range is one query: histograms add up with sumMap.
-- handshake: SYN to ACK; rtt: client's data to the server's ACK; reverse_rtt: server's data to the client's ACK.
-- A kind that was not measured has count 0, an empty histogram, and the largest number as its minimum.
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
    handshake_count SimpleAggregateFunction(sum, UInt64),
    handshake_sum_ns SimpleAggregateFunction(sum, UInt64),
    handshake_min_ns SimpleAggregateFunction(min, UInt64),
    handshake_max_ns SimpleAggregateFunction(max, UInt64),
    handshake_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)),
    rtt_count SimpleAggregateFunction(sum, UInt64),
    rtt_sum_ns SimpleAggregateFunction(sum, UInt64),
    rtt_min_ns SimpleAggregateFunction(min, UInt64),
    rtt_max_ns SimpleAggregateFunction(max, UInt64),
    rtt_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)),
    reverse_rtt_count SimpleAggregateFunction(sum, UInt64),
    reverse_rtt_sum_ns SimpleAggregateFunction(sum, UInt64),
    reverse_rtt_min_ns SimpleAggregateFunction(min, UInt64),
    reverse_rtt_max_ns SimpleAggregateFunction(max, UInt64),
    reverse_rtt_histogram SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(window)
ORDER BY (window, src_namespace, src_workload, dst_namespace, dst_workload, src_workload_kind, dst_workload_kind, dst_service, protocol, dst_port, reporter, authoritative)
TTL window + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1, auto_statistics_types = '', min_parts_to_merge_at_once = 10;
