-- One row per batch that was stored: the chain of positions and times by which a node and window is called complete.
-- A gap, a loss counter that grew, or a window that exported_until has not passed makes it incomplete, by name.
CREATE TABLE IF NOT EXISTS completeness
(
    at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was stored',
    topic LowCardinality(String),
    topic_id LowCardinality(String),
    partition Int32,
    node LowCardinality(String),
    ring_id LowCardinality(String),
    first UInt64 COMMENT 'position of its first record',
    next UInt64 COMMENT 'position behind its last record',
    gap UInt64 COMMENT 'positions missing before first: records that never came',
    repeated UInt64 COMMENT 'records skipped because their positions were stored before',
    counting_since DateTime64(9, 'UTC'),
    exported_until DateTime64(9, 'UTC'),
    created DateTime64(9, 'UTC'),
    held_packets UInt64,
    held_bytes UInt64,
    closed UInt8,
    late UInt64 COMMENT 'records whose window had been published before',
    unresolved UInt64 COMMENT 'records with an address of the cluster that nobody held',
    counters Map(LowCardinality(String), UInt64) COMMENT 'cumulative, losses by place and reason among them',
    lost UInt64 MATERIALIZED arraySum(mapValues(mapFilter((name, count) -> startsWith(name, 'lost_'), counters))),
    -- What is asked of whole rings, over all their rows: where they are, and since when they tell.
    PROJECTION rings
    (
        SELECT
            topic, topic_id, partition, node, ring_id,
            max(next), max(at), min(counting_since), max(exported_until), max(created)
        GROUP BY topic, topic_id, partition, node, ring_id
    )
)
ENGINE = MergeTree
PARTITION BY toDate(at)
ORDER BY (toStartOfTenMinutes(at), topic, node, ring_id, next)
TTL toDateTime(at) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 100000, ttl_only_drop_parts = 1;
