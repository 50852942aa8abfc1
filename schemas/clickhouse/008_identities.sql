-- Who held an address, and when: leases, written by the leader alone. ASOF JOIN on (address, valid_from) names any row.
CREATE TABLE IF NOT EXISTS identities
(
    address IPv6,
    valid_from DateTime64(9, 'UTC'),
    valid_to DateTime64(9, 'UTC') COMMENT '2100-01-01 while the lease lasts',
    kind LowCardinality(String) COMMENT 'pod, service or node',
    namespace LowCardinality(String),
    workload LowCardinality(String),
    workload_kind LowCardinality(String),
    pod String,
    service LowCardinality(String),
    node LowCardinality(String),
    zone LowCardinality(String),
    uid String COMMENT 'of the Kubernetes object',
    version UInt64 COMMENT 'the highest is true'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (address, uid)
-- Not by toDateTime: it ends in 2106 and would wrap a lease that lasts into the past.
TTL valid_to + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 100000;
