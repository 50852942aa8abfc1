/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Frame bytes to struct kni_packet: Ethernet, 802.1Q/802.1ad, IPv4, IPv6, TCP, UDP, ICMP, ICMPv6.
 *
 * A cursor walks the frame: each parser takes its header by one bounds check and says what follows. Nothing here knows a
 * map or a hook. Hostile bytes cost a verdict, never a read past the end.
 */
#ifndef KNI_PARSING_H
#define KNI_PARSING_H

#include "headers.h"
#include "table.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "addresses are put together as little-endian words"
#endif

#define KNI_HEADER_BYTES 512

enum kni_verdict {
	KNI_PARSED,
	KNI_IS_NOT_IP,
	KNI_IS_MALFORMED,
	KNI_IS_SHORT, /* the header ends behind the bytes at hand: pull them up and parse again */
};

struct kni_cursor {
	void *start;
	void *end; /* of the bytes at hand */
	u32 offset;
	u32 limit; /* where the frame ends, or what the IP header says is its packet */
	u32 is_complete; /* no more bytes can be pulled up */
};

/*
 * Lies in a map, not on the stack: of a map's memory the verifier knows nothing, so the parser's many ways to get here are
 * one to what follows. On the stack it would walk the accounting once for each of them.
 */
struct kni_packet {
	struct kni_identity identity; /* sides in order only behind kni_order() */
	u32 offset; /* of the header that is parsed; read back from here the verifier knows nothing of it */
	u32 headers; /* bytes from the start of the frame to the end of the innermost transport header */
	u32 sequence, ack, payload;
	u8 side; /* that sent it */
	u8 tcp_flags;
	u8 is_tcp; /* with a header that can be read */
	u8 is_irregular; /* ports readable, the rest of the transport header impossible */
	u8 is_later_fragment;
	u8 is_reply; /* ICMP echo */
};

/* The header here, NULL where it is not at hand. Headers do not go on behind KNI_HEADER_BYTES. */
static __always_inline void *kni_peek(const struct kni_cursor *cursor, u32 size)
{
	u64 offset = cursor->offset;

	if (offset > KNI_HEADER_BYTES || cursor->start + offset + size > cursor->end)
		return NULL;
	return cursor->start + offset;
}

static __always_inline void *kni_take(struct kni_cursor *cursor, u32 size)
{
	void *header = kni_peek(cursor, size);

	cursor->offset += size;
	return header;
}

static __always_inline u32 kni_left(const struct kni_cursor *cursor)
{
	return cursor->limit > cursor->offset ? cursor->limit - cursor->offset : 0;
}

/* What is on the wire but not at hand may come; what the frame does not have never does. */
static __always_inline u32 kni_missing(const struct kni_cursor *cursor)
{
	return cursor->is_complete ? KNI_IS_MALFORMED : KNI_IS_SHORT;
}

/* Makes all ways that lead to this offset one to the verifier. */
static __always_inline void kni_merge(struct kni_cursor *cursor, struct kni_packet *packet)
{
	packet->offset = cursor->offset;
	asm volatile("" ::: "memory");
	cursor->offset = packet->offset;
}

static __always_inline u32 kni_is_vlan(u16 type)
{
	return type == KNI_VLAN || type == KNI_SERVICE_VLAN;
}

/* *type: ethertype behind up to two tags */
static __always_inline u32 kni_parse_ethernet(struct kni_cursor *cursor, u16 *type)
{
	struct kni_ethernet_header *ethernet = kni_take(cursor, sizeof(*ethernet));

	if (!ethernet)
		return kni_missing(cursor);
	*type = kni_ntohs(ethernet->type);
#pragma unroll
	for (u32 tags = 0; tags < 2 && kni_is_vlan(*type); tags++) {
		struct kni_vlan_header *vlan = kni_take(cursor, sizeof(*vlan));

		if (!vlan)
			return kni_missing(cursor);
		*type = kni_ntohs(vlan->type);
	}
	return KNI_PARSED;
}

static __always_inline u64 kni_mapped(__be32 address)
{
	return (u64)address << 32 | 0xffff0000;
}

/*
 * Narrows the limit to what the IP header says, so that Ethernet's padding is no payload. A length of 0 is
 * segmentation offload (its headers are completed by the device) or a jumbogram: the frame's length holds.
 */
static __always_inline void kni_narrow(struct kni_cursor *cursor, u32 length)
{
	if (length && length < kni_left(cursor))
		cursor->limit = cursor->offset + length;
}

static __always_inline u32 kni_parse_ipv4(struct kni_cursor *cursor, struct kni_packet *packet)
{
	struct kni_ipv4_header *ip = kni_peek(cursor, sizeof(*ip));

	if (!ip)
		return kni_missing(cursor);
	u32 size = (ip->version_ihl & 15) * 4, total = kni_ntohs(ip->total_length);
	u16 fragment = kni_ntohs(ip->fragment);

	if (ip->version_ihl >> 4 != 4 || size < sizeof(*ip) || (total && total < size))
		return KNI_IS_MALFORMED;
	packet->identity.address[0][0] = packet->identity.address[1][0] = 0;
	packet->identity.address[0][1] = kni_mapped(ip->src);
	packet->identity.address[1][1] = kni_mapped(ip->dst);
	packet->identity.protocol = ip->protocol;
	packet->identity.ip_version = 4;
	packet->is_later_fragment = (fragment & 0x1fff) != 0;
	kni_narrow(cursor, total);
	cursor->offset += size;
	return KNI_PARSED;
}

static __always_inline u32 kni_is_extension(u8 protocol)
{
	return protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60;
}

/* RFC 8200, 4: a fragment header has 8 bytes, AH (RFC 4302) counts in fours, the others in eights. */
static __always_inline u32 kni_extension_size(u8 protocol, u8 length)
{
	if (protocol == 44)
		return 8;
	return protocol == 51 ? (length + 2) * 4 : (length + 1) * 8;
}

/* Behind the eighth extension header the protocol is that header's own number. */
static __always_inline u32 kni_skip_extensions(struct kni_cursor *cursor, struct kni_packet *packet)
{
#pragma clang loop unroll(disable)
	for (u32 n = 0; n < 8; n++) {
		u8 protocol = packet->identity.protocol;

		if (!kni_is_extension(protocol) || packet->is_later_fragment)
			break;
		struct kni_extension_header *extension = kni_peek(cursor, sizeof(*extension));

		if (!extension)
			return kni_missing(cursor);
		if (protocol == 44)
			packet->is_later_fragment = (kni_ntohs(extension->fragment) & 0xfff8) != 0;
		packet->identity.protocol = extension->next;
		cursor->offset += kni_extension_size(protocol, extension->length);
		kni_merge(cursor, packet);
		if (cursor->offset > cursor->limit)
			return KNI_IS_MALFORMED;
	}
	return KNI_PARSED;
}

static __always_inline u32 kni_parse_ipv6(struct kni_cursor *cursor, struct kni_packet *packet)
{
	struct kni_ipv6_header *ip = kni_take(cursor, sizeof(*ip));

	if (!ip)
		return kni_missing(cursor);
	if ((kni_ntohl(ip->version_class_label) >> 28) != 6)
		return KNI_IS_MALFORMED;
	packet->identity.address[0][0] = ip->src[0];
	packet->identity.address[0][1] = ip->src[1];
	packet->identity.address[1][0] = ip->dst[0];
	packet->identity.address[1][1] = ip->dst[1];
	packet->identity.protocol = ip->next;
	packet->identity.ip_version = 6;
	packet->is_later_fragment = 0;
	kni_narrow(cursor, kni_ntohs(ip->payload_length));
	return kni_skip_extensions(cursor, packet);
}

/* A transport header that is not whole: a conversation is known by its ports, so the packet belongs to it. */
static __always_inline u32 kni_parse_ports(struct kni_cursor *cursor, struct kni_packet *packet)
{
	__be16 *ports = kni_peek(cursor, 4);

	if (!cursor->is_complete)
		return KNI_IS_SHORT;
	if (!ports || kni_left(cursor) < 4)
		return KNI_IS_MALFORMED;
	packet->identity.port[0] = kni_ntohs(ports[0]);
	packet->identity.port[1] = kni_ntohs(ports[1]);
	packet->is_irregular = 1;
	return KNI_PARSED;
}

static __always_inline u32 kni_parse_tcp(struct kni_cursor *cursor, struct kni_packet *packet)
{
	struct kni_tcp_header *tcp = kni_peek(cursor, sizeof(*tcp));

	if (!tcp)
		return kni_parse_ports(cursor, packet);
	u32 size = (tcp->offset >> 4) * 4;

	packet->identity.port[0] = kni_ntohs(tcp->src);
	packet->identity.port[1] = kni_ntohs(tcp->dst);
	if (size < sizeof(*tcp) || size > kni_left(cursor)) {
		packet->is_irregular = 1;
		return KNI_PARSED;
	}
	packet->sequence = kni_ntohl(tcp->sequence);
	packet->ack = kni_ntohl(tcp->ack);
	packet->tcp_flags = tcp->flags;
	packet->is_tcp = 1;
	packet->payload = kni_left(cursor) - size;
	cursor->offset += size;
	return KNI_PARSED;
}

static __always_inline u32 kni_parse_udp(struct kni_cursor *cursor, struct kni_packet *packet)
{
	struct kni_udp_header *udp = kni_peek(cursor, sizeof(*udp));

	if (!udp || kni_left(cursor) < sizeof(*udp))
		return kni_parse_ports(cursor, packet);
	packet->identity.port[0] = kni_ntohs(udp->src);
	packet->identity.port[1] = kni_ntohs(udp->dst);
	cursor->offset += sizeof(*udp);
	return KNI_PARSED;
}

/* Type and code stand for ports; a reply has its request's, turned round (as Zeek has it). */
static __always_inline u32 kni_parse_icmp(struct kni_cursor *cursor, struct kni_packet *packet)
{
	struct kni_icmp_header *icmp = kni_take(cursor, sizeof(*icmp));

	if (!icmp)
		return kni_missing(cursor);
	u32 v6 = packet->identity.protocol == KNI_ICMPV6;
	u8 request = v6 ? 128 : 8, reply = v6 ? 129 : 0;

	packet->is_reply = icmp->type == reply;
	packet->identity.port[0] = icmp->type;
	packet->identity.port[1] = icmp->type == request ? reply : packet->is_reply ? request : icmp->code;
	return KNI_PARSED;
}

static __always_inline u32 kni_parse_transport(struct kni_cursor *cursor, struct kni_packet *packet)
{
	packet->identity.port[0] = packet->identity.port[1] = 0;
	if (packet->is_later_fragment)
		return KNI_PARSED;
	switch (packet->identity.protocol) {
	case KNI_TCP:
		return kni_parse_tcp(cursor, packet);
	case KNI_UDP:
		return kni_parse_udp(cursor, packet);
	case KNI_ICMP:
	case KNI_ICMPV6:
		return kni_parse_icmp(cursor, packet);
	}
	return KNI_PARSED;
}

static __always_inline void kni_forget_packet(struct kni_packet *packet)
{
	packet->identity.vni = 0;
	packet->sequence = packet->ack = packet->payload = packet->headers = 0;
	packet->side = packet->tcp_flags = packet->is_tcp = 0;
	packet->is_irregular = packet->is_later_fragment = packet->is_reply = 0;
	__builtin_memset(packet->identity.outer, 0, sizeof(packet->identity.outer));
}

static __always_inline u32 kni_parse_frame(struct kni_cursor *cursor, struct kni_packet *packet)
{
	u16 type = 0;
	u32 verdict = kni_parse_ethernet(cursor, &type);

	if (verdict != KNI_PARSED)
		return verdict;
	if (type == KNI_IPV4)
		verdict = kni_parse_ipv4(cursor, packet);
	else if (type == KNI_IPV6)
		verdict = kni_parse_ipv6(cursor, packet);
	else
		return KNI_IS_NOT_IP;
	if (verdict != KNI_PARSED)
		return verdict;
	return kni_parse_transport(cursor, packet);
}

#endif
