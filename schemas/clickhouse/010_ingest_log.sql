-- One row per range of offsets that was written whole, with the windows it touched: what was done, never what to do.
CREATE TABLE IF NOT EXISTS ingest_log
(
    at DateTime64(3, 'UTC') DEFAULT now64(3),
    topic LowCardinality(String),
    topic_id LowCardinality(String),
    partition Int32,
    first Int64,
    last Int64,
    messages UInt64,
    records UInt64,
    unreadable UInt64,
    windows Array(DateTime('UTC'))
)
ENGINE = MergeTree
PARTITION BY toDate(at)
ORDER BY (toStartOfTenMinutes(at), topic, topic_id, partition, first)
TTL toDateTime(at) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
