-- Per node, interface, direction, protocol class and power-of-two bucket: how many packets of that size the hook had seen
-- up to the window's end. Cumulative since the ring was made, so that repetition and order do no harm (max);
-- the growth per window is the view packet_sizes. bucket_bytes: the largest frame it holds, 0 for the last (no limit).
CREATE TABLE IF NOT EXISTS window_sizes
(
    window DateTime('UTC'),
    node LowCardinality(String),
    ring_id String,
    interface LowCardinality(String),
    ifindex UInt32,
    flow_direction UInt8,
    protocol_class LowCardinality(String),
    bucket_bytes UInt32,
    packets_total SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(window)
ORDER BY (window, node, interface, ifindex, ring_id, flow_direction, protocol_class, bucket_bytes)
TTL window + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
