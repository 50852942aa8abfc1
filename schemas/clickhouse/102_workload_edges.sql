-- Per window and edge (workload to workload, from client to server): traffic both ways and what became of connections.
CREATE OR REPLACE VIEW workload_edges AS
SELECT
    window,
    src_namespace,
    src_workload,
    src_workload_kind,
    dst_namespace,
    dst_workload,
    dst_workload_kind,
    dst_service,
    protocol,
    dst_port,
    sum(packets) AS packets,
    sum(bytes) AS bytes,
    sum(reverse_packets) AS reverse_packets,
    sum(reverse_bytes) AS reverse_bytes,
    sum(connections_opened) AS connections_opened,
    sum(connections_closed) AS connections_closed,
    sum(connections_refused) AS connections_refused,
    sum(connections_no_answer) AS connections_no_answer,
    sum(retransmits) + sum(reverse_retransmits) AS retransmits,
    sum(resets) + sum(reverse_resets) AS resets
FROM window_protocols
WHERE authoritative
GROUP BY
    window, src_namespace, src_workload, src_workload_kind, dst_namespace, dst_workload, dst_workload_kind, dst_service,
    protocol, dst_port;
