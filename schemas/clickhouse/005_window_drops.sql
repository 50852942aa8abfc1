-- Per node, cause and pair of workloads: what the kernel dropped in one window.
CREATE TABLE IF NOT EXISTS window_drops
(
    window DateTime('UTC'),
    node LowCardinality(String),
    reason LowCardinality(String),
    call_site LowCardinality(String),
    benign UInt8,
    src_namespace LowCardinality(String),
    src_workload LowCardinality(String),
    src_workload_kind LowCardinality(String),
    dst_namespace LowCardinality(String),
    dst_workload LowCardinality(String),
    dst_workload_kind LowCardinality(String),
    protocol UInt8,
    packets SimpleAggregateFunction(sum, UInt64),
    bytes SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(window)
ORDER BY (window, node, reason, call_site, benign, src_namespace, src_workload, dst_namespace, dst_workload, src_workload_kind, dst_workload_kind, protocol)
TTL window + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
