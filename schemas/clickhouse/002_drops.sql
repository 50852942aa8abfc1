-- What the kernel dropped, with the packet's own source and destination identified as of time_end.
CREATE TABLE IF NOT EXISTS drops
(
    time_start DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    time_end DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    src_addr IPv6,
    dst_addr IPv6,
    src_port UInt16,
    dst_port UInt16,
    protocol UInt8,
    ip_version UInt8,
    tcp_flags UInt8,
    interface LowCardinality(String),
    network_namespace UInt32,
    reason LowCardinality(String),
    call_site LowCardinality(String),
    benign UInt8,
    packets UInt64,
    bytes UInt64,
    src_namespace LowCardinality(String),
    src_workload LowCardinality(String),
    src_workload_kind LowCardinality(String),
    src_pod LowCardinality(String),
    src_service LowCardinality(String),
    src_node LowCardinality(String),
    src_zone LowCardinality(String),
    src_attribution LowCardinality(String),
    dst_namespace LowCardinality(String),
    dst_workload LowCardinality(String),
    dst_workload_kind LowCardinality(String),
    dst_pod LowCardinality(String),
    dst_service LowCardinality(String),
    dst_node LowCardinality(String),
    dst_zone LowCardinality(String),
    dst_attribution LowCardinality(String),
    node LowCardinality(String)
)
ENGINE = MergeTree
PARTITION BY toStartOfHour(time_end)
ORDER BY (toStartOfMinute(time_end), src_namespace, dst_namespace)
TTL toDateTime(time_end) + INTERVAL 24 HOUR
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
