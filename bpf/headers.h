/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Protocol headers as they stand on the wire, and the numbers in them. No kernel headers: the same source on every node.
 */
#ifndef KNI_HEADERS_H
#define KNI_HEADERS_H

#define kni_ntohs(x)  __builtin_bswap16(x)
#define kni_ntohl(x)  __builtin_bswap32(x)
#define kni_ntohll(x) __builtin_bswap64(x)

enum { KNI_IPV4 = 0x0800, KNI_IPV6 = 0x86dd, KNI_VLAN = 0x8100, KNI_SERVICE_VLAN = 0x88a8 };
enum { KNI_ICMP = 1, KNI_TCP = 6, KNI_UDP = 17, KNI_ICMPV6 = 58 };
enum { KNI_FIN = 1, KNI_SYN = 2, KNI_RST = 4, KNI_ACK = 16 };

struct kni_ethernet_header {
	u8 dst[6], src[6];
	__be16 type;
};

struct kni_vlan_header {
	__be16 tag, type;
};

struct kni_ipv4_header {
	u8 version_ihl, tos;
	__be16 total_length, id, fragment;
	u8 ttl, protocol;
	__be16 checksum;
	__be32 src, dst;
};

struct kni_ipv6_header {
	__be32 version_class_label;
	__be16 payload_length;
	u8 next, hop_limit;
	__be64 src[2], dst[2];
};

struct kni_extension_header {
	u8 next, length;
	__be16 fragment; /* of a fragment header */
	__be32 id;
};

struct kni_tcp_header {
	__be16 src, dst;
	__be32 sequence, ack;
	u8 offset, flags;
	__be16 window, checksum, urgent;
};

struct kni_udp_header {
	__be16 src, dst, length, checksum;
};

struct kni_icmp_header {
	u8 type, code;
	__be16 checksum;
	__be32 rest;
};

struct kni_vxlan_header {
	u8 flags, reserved[3];
	u8 vni[3], reserved_too;
};

#endif
