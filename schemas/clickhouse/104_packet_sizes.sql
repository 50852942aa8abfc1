-- Per window, node, interface and protocol class: how many packets of each size, the growth of window_sizes. bucket_bytes is
-- the largest frame of the bucket, 0 the last (no limit). A ring's first window counts from the ring's beginning.
CREATE OR REPLACE VIEW packet_sizes AS
SELECT
    window,
    node,
    interface,
    flow_direction,
    protocol_class,
    bucket_bytes,
    total - lagInFrame(total, 1, 0) OVER (
        PARTITION BY node, ring_id, interface, ifindex, flow_direction, protocol_class, bucket_bytes
        ORDER BY window ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS packets
FROM
(
    SELECT
        window, node, ring_id, interface, ifindex, flow_direction, protocol_class, bucket_bytes,
        max(packets_total) AS total
    FROM window_sizes
    GROUP BY window, node, ring_id, interface, ifindex, flow_direction, protocol_class, bucket_bytes
);
