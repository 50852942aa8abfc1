-- Per window, node, interface and direction: what the hook saw, by outcome: the growth of window_interfaces.
CREATE OR REPLACE VIEW interface_traffic AS
SELECT
    window,
    node,
    interface,
    interface_kind,
    flow_direction,
    hook,
    packets - lagInFrame(packets, 1, 0) OVER ring AS packets,
    bytes - lagInFrame(bytes, 1, 0) OVER ring AS bytes,
    non_ip - lagInFrame(non_ip, 1, 0) OVER ring AS non_ip_packets,
    malformed - lagInFrame(malformed, 1, 0) OVER ring AS malformed_packets,
    lost - lagInFrame(lost, 1, 0) OVER ring AS lost_packets
FROM
(
    SELECT
        window, node, ring_id, interface, ifindex, interface_kind, flow_direction, hook,
        max(accounted_packets) + max(non_ip_packets) + max(malformed_packets) + max(lost_packets) AS packets,
        max(accounted_bytes) + max(non_ip_bytes) + max(malformed_bytes) + max(lost_bytes) AS bytes,
        max(non_ip_packets) AS non_ip,
        max(malformed_packets) AS malformed,
        max(lost_packets) AS lost
    FROM window_interfaces
    GROUP BY window, node, ring_id, interface, ifindex, interface_kind, flow_direction, hook
)
WINDOW ring AS (
    PARTITION BY node, ring_id, interface, ifindex, flow_direction
    ORDER BY window ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);
