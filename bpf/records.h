/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the kernel side tells user space: every struct and enum that crosses, and nothing else.
 *
 * This file is the one definition. u8 … u64 and arrays only, sorted by alignment, padding explicit and zero, so that a
 * record has the same bytes on every architecture and compiler; collector/records.py states it once more as numpy
 * dtypes, and a test compiles this header and compares every offset. It includes nothing: who includes it brings u8 … u64.
 *
 * Addresses: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). Ports: host order.
 * Times: nanoseconds of CLOCK_MONOTONIC. An array [2] counts by who sent: [0] the client (the record's source),
 * [1] the server (its destination): a biflow of RFC 5103.
 */
#ifndef KNI_RECORDS_H
#define KNI_RECORDS_H

#define KNI_SAMPLES 16
#define KNI_LANES   16

/* IPFIX flowEndReason (IANA, element 136) */
enum kni_flow_end_reason {
	KNI_END_IDLE = 1,
	KNI_END_ACTIVE = 2,
	KNI_END_DETECTED = 3,
	KNI_END_FORCED = 4,
	KNI_END_LACK_OF_RESOURCES = 5,
};

enum kni_interface_kind {
	KNI_UPLINK = 0,
	KNI_POD = 1,
};

/* IPFIX flowDirection (IANA, element 61), of the client's packets at this interface */
enum kni_flow_direction {
	KNI_INGRESS = 0,
	KNI_EGRESS = 1,
};

/* IPFIX biflowDirection (IANA, element 239) */
enum kni_biflow_direction {
	KNI_ARBITRARY = 0, /* the client is a function of the 5-tuple */
	KNI_INITIATOR = 1, /* the client was seen to begin: it sent the SYN */
};

/* The growth of one biflow since its last record. */
struct kni_flow_record {
	u64 time_start_ns; /* first and last packet in this record */
	u64 time_end_ns;
	u64 packets[2]; /* as on the wire: segments, not super-packets */
	u64 bytes[2]; /* frame bytes from the Ethernet header, without FCS */
	u64 rtt_sum_ns[2]; /* [0]: client's data until the server's ACK came by here; [1]: the other way */
	u8 src_addr[16];
	u8 dst_addr[16];
	u8 outer_src_addr[16]; /* VXLAN's, in the direction of the client's packets; zero without a tunnel */
	u8 outer_dst_addr[16];
	u32 ifindex;
	u32 vni; /* 24 bits; 0 without a tunnel */
	u32 rtt_count[2];
	u32 rtt_min_ns[2];
	u32 rtt_max_ns[2];
	u32 retransmits[2]; /* segments */
	u32 resets[2];
	u32 handshake_ns[2]; /* [0] SYN to SYN/ACK, [1] SYN/ACK to ACK; 0: not in this record */
	u16 rtt_samples[2][KNI_SAMPLES]; /* 5 bits exponent, 11 bits mantissa: (x & 2047) << (x >> 11) ns */
	u16 rtt_lanes[2][KNI_LANES]; /* counts of (x >> 11) * 1024 + (x & 2047) >> rtt_shift, modulo 16 */
	u16 packet_bytes_min[2]; /* 0: no packet */
	u16 packet_bytes_max[2];
	u16 src_port; /* ICMP: type and code as ports, paired by request and reply */
	u16 dst_port;
	u16 connections_opened; /* each is raised in exactly one record of a connection */
	u16 connections_closed;
	u16 connections_refused;
	u16 connections_no_answer;
	u8 tcp_flags[2]; /* all flags seen, or'ed */
	u8 protocol; /* IANA protocol number */
	u8 ip_version; /* 4 or 6 */
	u8 flow_end_reason;
	u8 interface_kind;
	u8 flow_direction;
	u8 biflow_direction;
	u8 local_socket; /* TC egress saw a socket of this node */
	u8 rtt_shift[2];
	u8 reserved[1];
};

_Static_assert(sizeof(struct kni_flow_record) == 344, "a multiple of the ring's alignment");

/* The drops of one (reason, call site, namespace, interface, conversation) since the last tick. */
struct kni_drop_record {
	u64 time_start_ns;
	u64 time_end_ns;
	u64 packets; /* segments of super-packets */
	u64 bytes; /* sk_buff length where it was dropped */
	u64 location; /* kernel address that dropped it: its text is in the map call_sites */
	u8 src_addr[16]; /* the packet's own source: no client is known here */
	u8 dst_addr[16];
	u32 netns; /* inode of the network namespace */
	u32 ifindex; /* 0: none known */
	u32 reason; /* enum skb_drop_reason of the running kernel; 0 before 5.17 */
	u16 src_port;
	u16 dst_port;
	u8 protocol;
	u8 ip_version;
	u8 tcp_flags; /* or'ed */
	u8 reserved[5];
};

_Static_assert(sizeof(struct kni_drop_record) == 96, "a multiple of the ring's alignment");

#endif
