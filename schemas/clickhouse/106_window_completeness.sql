-- Per node and window from `since` on: is every packet of it accounted for? `complete` is a statement on the chains of batches
-- (flow records and drops) and on the loss counters; `reason` says what is missing: silent (no batch speaks of the window),
-- counting_began_late, not_yet_exported, gap (positions that never came), lost (packets counted as lost while the window
-- ran), drops_gap and drops_lost (the same of what the kernel dropped).
-- Expected nodes are all that reported within a day and all that Kubernetes knows now.
-- Batches are read from a minute before `since` on. A chain that was silent then has no known predecessor: what its first
-- batch says happened is taken as having happened at any time since. Only chains in which anything happened are looked at
-- batch by batch.
CREATE OR REPLACE VIEW window_completeness_since AS
WITH
    {since:DateTime('UTC')} - INTERVAL 1 MINUTE AS bound,
    rings AS
    (
        SELECT topic, node, ring_id, min(counting_since) AS since, max(exported_until) AS until, max(created) AS told
        FROM completeness
        WHERE topic IN ('kubenetinsight.flows', 'kubenetinsight.drops')
        GROUP BY topic, node, ring_id
        HAVING max(at) > now() - INTERVAL 1 DAY
    ),
    eventful AS
    (
        SELECT topic, node, ring_id
        FROM completeness
        WHERE topic IN ('kubenetinsight.flows', 'kubenetinsight.drops') AND at > bound
        GROUP BY topic, node, ring_id
        HAVING max(gap) > 0 OR max(late) > 0 OR max(unresolved) > 0 OR min(lost) < max(lost) OR min(at) > bound + INTERVAL 1 MINUTE
            OR min(counting_since) < max(counting_since)
    ),
    batches AS
    (
        SELECT node, topic, counting_since, created, late, unresolved,
            if(topic = 'kubenetinsight.flows', gap, 0) AS flows_gap,
            gap - flows_gap AS drops_gap,
            lagInFrame(exported_until, 1, greatest(rings.since, toDateTime64(bound, 9, 'UTC'))) OVER chain AS begin,
            lagInFrame(counting_since, 1, rings.since) OVER chain AS counting_before,
            lost - lagInFrame(lost, 1, 0) OVER chain AS newly_lost
        FROM completeness INNER JOIN rings USING (topic, node, ring_id)
        WHERE (topic, node, ring_id) IN eventful AND at > bound
        WINDOW chain AS (PARTITION BY node, ring_id ORDER BY next, created ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    spans AS
    (
        SELECT
            node, flows_gap, drops_gap, late, unresolved,
            if(topic = 'kubenetinsight.flows', newly_lost, 0) AS lost_packets,
            newly_lost - lost_packets AS lost_drops,
            -- Counting began anew, and what it had missed was found within 6 s: nothing is known of the time from then to now.
            counting_since > counting_before AND counting_since > begin AS began_anew,
            arrayJoin(arrayConcat(
                arrayMap(
                    number -> (toDateTime(number * 10, 'UTC'), 0),
                    range(toUInt32(intDiv(toUnixTimestamp(begin), 10)), toUInt32(intDiv(toUnixTimestamp(greatest(begin, created)), 10) + 1))),
                if(
                    began_anew,
                    arrayMap(
                        number -> (toDateTime(number * 10, 'UTC'), 1),
                        range(
                            toUInt32(intDiv(toUnixTimestamp(greatest(counting_before, least(begin, counting_since - INTERVAL 6 SECOND))), 10)),
                            toUInt32(intDiv(toUnixTimestamp(counting_since), 10) + 1))),
                    []))) AS span,
            span.1 AS window,
            span.2 AS blind
        FROM batches
        WHERE created < begin + INTERVAL 1 DAY
    ),
    troubles AS
    (
        SELECT
            node, window,
            sumIf(flows_gap, NOT blind) AS flows_gap, sumIf(drops_gap, NOT blind) AS drops_gap,
            sumIf(late, NOT blind) AS late, sumIf(unresolved, NOT blind) AS unresolved,
            sumIf(lost_packets, NOT blind) AS lost_packets, sumIf(lost_drops, NOT blind) AS lost_drops,
            max(blind) AS is_blind
        FROM spans
        GROUP BY node, window
    ),
    expected AS
    (
        SELECT node FROM rings GROUP BY node
        UNION DISTINCT
        SELECT node FROM identities FINAL WHERE kind = 'node' AND valid_to > now() AND node != '' GROUP BY node
    ),
    windows AS
    (
        SELECT toDateTime(arrayJoin(range(
            toUInt32(intDiv(toUnixTimestamp(greatest(min(since), toDateTime64({since:DateTime('UTC')}, 9, 'UTC'))), 10)),
            toUInt32(intDiv(toUnixTimestamp(max(told)), 10) + 1))) * 10, 'UTC') AS window
        FROM rings
    ),
    axis AS
    (
        SELECT expected.node AS node, windows.window AS window, topic
        FROM expected CROSS JOIN windows
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

-- The same of the last day. Where less is asked, window_completeness_since reads less.
CREATE OR REPLACE VIEW window_completeness AS SELECT * FROM window_completeness_since(since = now() - INTERVAL 1 DAY);
