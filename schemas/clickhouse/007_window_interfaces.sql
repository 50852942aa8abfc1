-- Per node, interface and direction: everything its hook had seen up to the window's end, by outcome; cumulative (max), as
-- in window_sizes. It is the truth that flows are checked against: accounted = records + held.
CREATE TABLE IF NOT EXISTS window_interfaces
(
    window DateTime('UTC'),
    node LowCardinality(String),
    ring_id String,
    interface LowCardinality(String),
    ifindex UInt32,
    interface_kind UInt8,
    flow_direction UInt8,
    hook LowCardinality(String),
    accounted_frames SimpleAggregateFunction(max, UInt64),
    accounted_packets SimpleAggregateFunction(max, UInt64),
    accounted_bytes SimpleAggregateFunction(max, UInt64),
    non_ip_frames SimpleAggregateFunction(max, UInt64),
    non_ip_packets SimpleAggregateFunction(max, UInt64),
    non_ip_bytes SimpleAggregateFunction(max, UInt64),
    malformed_frames SimpleAggregateFunction(max, UInt64),
    malformed_packets SimpleAggregateFunction(max, UInt64),
    malformed_bytes SimpleAggregateFunction(max, UInt64),
    lost_frames SimpleAggregateFunction(max, UInt64),
    lost_packets SimpleAggregateFunction(max, UInt64),
    lost_bytes SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(window)
ORDER BY (window, node, interface, ifindex, ring_id, interface_kind, flow_direction, hook)
TTL window + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
