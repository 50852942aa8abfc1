-- Per edge and protocol: traffic and connections of one window, as partial sums that any worker may add to.
-- dst_port is the service's port; a port of the ephemeral range (from 32768 on) is 0, so that a rollup stays small.
CREATE TABLE IF NOT EXISTS window_protocols
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
    flows SimpleAggregateFunction(sum, UInt64),
    packets SimpleAggregateFunction(sum, UInt64),
    bytes SimpleAggregateFunction(sum, UInt64),
    reverse_packets SimpleAggregateFunction(sum, UInt64),
    reverse_bytes SimpleAggregateFunction(sum, UInt64),
    connections_opened SimpleAggregateFunction(sum, UInt64),
    connections_closed SimpleAggregateFunction(sum, UInt64),
    connections_refused SimpleAggregateFunction(sum, UInt64),
    connections_no_answer SimpleAggregateFunction(sum, UInt64),
    retransmits SimpleAggregateFunction(sum, UInt64),
    reverse_retransmits SimpleAggregateFunction(sum, UInt64),
    resets SimpleAggregateFunction(sum, UInt64),
    reverse_resets SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(window)
ORDER BY (window, src_namespace, src_workload, dst_namespace, dst_workload, src_workload_kind, dst_workload_kind, dst_service, protocol, dst_port, reporter, authoritative)
TTL window + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1, auto_statistics_types = '', min_parts_to_merge_at_once = 10;
