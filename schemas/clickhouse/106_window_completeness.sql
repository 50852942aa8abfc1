-- Per node and window of the last day: is every packet of it accounted for? `complete` is a statement on the chains of batches
-- (flow records and drops) and on the loss counters; `reason` says what is missing: silent (no batch speaks of the window),
-- counting_began_late, not_yet_exported, gap (positions that never came), lost (packets counted as lost while the window
-- ran), drops_gap and drops_lost (the same of what the kernel dropped).
-- Expected nodes are all that ever reported within the day and all that Kubernetes knows now.
CREATE OR REPLACE VIEW window_completeness AS
WITH
    batches AS
    (
        SELECT node, topic, ring_id, counting_since, exported_until, created, late, unresolved,
            if(topic = 'kubenetinsight.flows', gap, 0) AS flows_gap,
            gap - flows_gap AS drops_gap,
            arraySum(mapValues(mapFilter((name, count) -> startsWith(name, 'lost_'), counters))) AS lost,
            lagInFrame(exported_until, 1, counting_since) OVER chain AS begin,
            lagInFrame(counting_since, 1, counting_since) OVER chain AS counting_before,
            lost - lagInFrame(lost, 1, 0) OVER chain AS newly_lost
        FROM completeness
        WHERE topic IN ('kubenetinsight.flows', 'kubenetinsight.drops') AND at > now() - INTERVAL 1 DAY
        WINDOW chain AS (PARTITION BY node, ring_id ORDER BY next, created ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    rings AS
    (
        SELECT node, topic, ring_id, min(counting_since) AS since, max(exported_until) AS until
        FROM batches
        GROUP BY node, topic, ring_id
    ),
    spans AS
    (
        SELECT
            node,
            arrayJoin(arrayMap(
                number -> toDateTime(number * 10, 'UTC'),
                range(toUInt32(intDiv(toUnixTimestamp(begin), 10)), toUInt32(intDiv(toUnixTimestamp(greatest(begin, created)), 10) + 1)))) AS window,
            flows_gap, drops_gap, late, unresolved,
            if(topic = 'kubenetinsight.flows', newly_lost, 0) AS lost_packets,
            newly_lost - lost_packets AS lost_drops,
            0 AS is_blind
        FROM batches
        WHERE created < begin + INTERVAL 1 DAY
        UNION ALL
        -- Counting began anew, and what it had missed was found within 6 s: nothing is known of the time from then to now.
        SELECT
            node,
            arrayJoin(arrayMap(
                number -> toDateTime(number * 10, 'UTC'),
                range(
                    toUInt32(intDiv(toUnixTimestamp(greatest(counting_before, least(begin, counting_since - INTERVAL 6 SECOND))), 10)),
                    toUInt32(intDiv(toUnixTimestamp(counting_since), 10) + 1)))) AS window,
            0 AS flows_gap, 0 AS drops_gap, 0 AS late, 0 AS unresolved, 0 AS lost_packets, 0 AS lost_drops,
            1 AS is_blind
        FROM batches
        WHERE counting_since > counting_before AND counting_since > begin AND created < begin + INTERVAL 1 DAY
    ),
    troubles AS
    (
        SELECT
            node, window,
            sum(flows_gap) AS flows_gap, sum(drops_gap) AS drops_gap, sum(late) AS late, sum(unresolved) AS unresolved,
            sum(lost_packets) AS lost_packets, sum(lost_drops) AS lost_drops, max(is_blind) AS is_blind
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
        SELECT expected.node AS node, windows.window AS window, topic
        FROM expected CROSS JOIN (SELECT DISTINCT window FROM troubles) AS windows
        ARRAY JOIN ['kubenetinsight.flows', 'kubenetinsight.drops'] AS topic
    ),
    covered AS
    (
        SELECT node, window, min(whole) AS whole, min(some) AS some, min(begun) AS begun
        FROM
        (
            SELECT
                axis.node AS node,
                axis.window AS window,
                max(since <= axis.window AND until >= axis.window + INTERVAL 10 SECOND) AS whole,
                max(since <= axis.window + INTERVAL 10 SECOND AND until >= axis.window) AS some,
                max(since <= axis.window AND until >= axis.window) AS begun
            FROM axis LEFT JOIN rings ON axis.node = rings.node AND axis.topic = rings.topic
            GROUP BY axis.node, axis.window, axis.topic
        )
        GROUP BY node, window
    )
SELECT
    covered.window AS window,
    covered.node AS node,
    multiIf(
        NOT some, 'silent',
        flows_gap > 0, 'gap',
        lost_packets > 0, 'lost',
        drops_gap > 0, 'drops_gap',
        lost_drops > 0, 'drops_lost',
        is_blind, 'counting_began_late',
        whole, '',
        begun, 'not_yet_exported',
        'counting_began_late') AS reason,
    reason = '' AS complete,
    flows_gap + drops_gap AS missing_records,
    troubles.lost_packets AS lost_packets,
    troubles.lost_drops AS lost_drops,
    late AS late_records,
    unresolved AS unresolved_records
FROM covered LEFT JOIN troubles ON covered.node = troubles.node AND covered.window = troubles.window;
