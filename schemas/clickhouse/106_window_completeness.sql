-- Per node and window of the last day: is every packet of it accounted for? `complete` is a statement on the chain of batches
-- and on the loss counters; `reason` says what is missing: silent (no batch speaks of the window), counting_began_late,
-- not_yet_exported, gap (positions that never came), lost (packets counted as lost while the window ran).
-- Expected nodes are all that ever reported within the day and all that Kubernetes knows now.
CREATE OR REPLACE VIEW window_completeness AS
WITH
    batches AS
    (
        SELECT node, ring_id, next, counting_since, exported_until, created, gap, late, unresolved, repeated,
            arraySum(mapValues(mapFilter((name, count) -> startsWith(name, 'lost_'), counters))) AS lost,
            lagInFrame(exported_until, 1, counting_since) OVER chain AS begin,
            lost - lagInFrame(lost, 1, 0) OVER chain AS newly_lost
        FROM completeness
        WHERE topic = 'kubenetinsight.flows' AND at > now() - INTERVAL 1 DAY
        WINDOW chain AS (PARTITION BY node, ring_id ORDER BY next, created ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    rings AS
    (
        SELECT node, ring_id, min(counting_since) AS since, max(exported_until) AS until
        FROM batches
        GROUP BY node, ring_id
    ),
    spans AS
    (
        SELECT
            node,
            arrayJoin(arrayMap(
                number -> toDateTime(number * 10, 'UTC'),
                range(toUInt32(intDiv(toUnixTimestamp(begin), 10)), toUInt32(intDiv(toUnixTimestamp(greatest(begin, created)), 10) + 1)))) AS window,
            gap, newly_lost, late, unresolved
        FROM batches
        WHERE created < begin + INTERVAL 1 DAY
    ),
    troubles AS
    (
        SELECT node, window, sum(gap) AS gap, sum(newly_lost) AS lost, sum(late) AS late, sum(unresolved) AS unresolved
        FROM spans
        GROUP BY node, window
    ),
    expected AS
    (
        SELECT node FROM batches GROUP BY node
        UNION DISTINCT
        SELECT node FROM identities FINAL WHERE kind = 'node' AND valid_to > now() AND node != '' GROUP BY node
    ),
    axis AS
    (
        SELECT expected.node AS node, windows.window AS window
        FROM expected CROSS JOIN (SELECT DISTINCT window FROM troubles) AS windows
    ),
    covered AS
    (
        SELECT
            axis.node AS node,
            axis.window AS window,
            max(since <= axis.window AND until >= axis.window + INTERVAL 10 SECOND) AS whole,
            max(since <= axis.window + INTERVAL 10 SECOND AND until >= axis.window) AS some,
            max(since <= axis.window AND until >= axis.window) AS begun
        FROM axis LEFT JOIN rings ON axis.node = rings.node
        GROUP BY axis.node, axis.window
    )
SELECT
    covered.window AS window,
    covered.node AS node,
    multiIf(NOT some, 'silent', gap > 0, 'gap', lost > 0, 'lost', whole, '', begun, 'not_yet_exported', 'counting_began_late') AS reason,
    reason = '' AS complete,
    gap AS missing_records,
    lost AS lost_packets,
    late AS late_records,
    unresolved AS unresolved_records
FROM covered LEFT JOIN troubles ON covered.node = troubles.node AND covered.window = troubles.window;
