-- Per window and protocol: what moved in the cluster, each conversation counted once.
CREATE OR REPLACE VIEW traffic_summary AS
SELECT
    window,
    protocol,
    sum(flows) AS flows,
    sum(packets) + sum(reverse_packets) AS packets,
    sum(bytes) + sum(reverse_bytes) AS bytes,
    sum(connections_opened) AS connections_opened,
    sum(connections_closed) AS connections_closed,
    sum(connections_refused) AS connections_refused,
    sum(connections_no_answer) AS connections_no_answer,
    sum(retransmits) + sum(reverse_retransmits) AS retransmits,
    sum(resets) + sum(reverse_resets) AS resets
FROM window_protocols
WHERE authoritative
GROUP BY window, protocol;
