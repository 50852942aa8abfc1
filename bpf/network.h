/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * IPv4 with options and IPv6 with extension headers to addresses, protocol, and where the payload lies. Fragments but the
 * first have no ports: they are told apart here.
 */
#ifndef KNI_NETWORK_H
#define KNI_NETWORK_H

#include "packet.h"

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
#pragma unroll
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

#endif
