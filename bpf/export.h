/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A conversation's entry to a flow record: each counter leaves by an atomic exchange with 0, so every packet is in exactly
 * one record. Only for who won the entry's span (kni_win) and has the record's memory in the ring.
 */
#ifndef KNI_EXPORT_H
#define KNI_EXPORT_H

#include "conversation.h"

/* The packets from first to last, in ticks. */
struct kni_span {
	u32 first;
	u32 last;
};

/* Of all CPUs that want to export what came in this span, one wins, and only if no packet came meanwhile. */
static __always_inline u32 kni_win(struct kni_hot *hot, struct kni_span span, u32 next_first, u32 next_last)
{
	u64 *word = (u64 *)&hot->last;
	u64 old = (u64)span.first << 32 | span.last, next = (u64)next_first << 32 | next_last;

	return __sync_val_compare_and_swap(word, old, next) == old;
}

static __always_inline void kni_fill_identity(struct kni_flow_record *record, const struct kni_identity *id, u32 client)
{
	u64 *src = (u64 *)record->src_addr, *dst = (u64 *)record->dst_addr;
	u64 *outer_src = (u64 *)record->outer_src_addr, *outer_dst = (u64 *)record->outer_dst_addr;

	src[0] = client ? id->address[1][0] : id->address[0][0];
	src[1] = client ? id->address[1][1] : id->address[0][1];
	dst[0] = client ? id->address[0][0] : id->address[1][0];
	dst[1] = client ? id->address[0][1] : id->address[1][1];
	outer_src[0] = client ? id->outer[1][0] : id->outer[0][0];
	outer_src[1] = client ? id->outer[1][1] : id->outer[0][1];
	outer_dst[0] = client ? id->outer[0][0] : id->outer[1][0];
	outer_dst[1] = client ? id->outer[0][1] : id->outer[1][1];
	record->src_port = client ? id->port[1] : id->port[0];
	record->dst_port = client ? id->port[0] : id->port[1];
	record->ifindex = id->ifindex;
	record->vni = id->vni;
	record->protocol = id->protocol;
	record->ip_version = id->ip_version;
	record->interface_kind = id->interface_kind;
	record->flow_direction = (id->direction ^ client) & 1;
}

static __always_inline void kni_fill_rtt(struct kni_flow_record *record, struct kni_cold *cold, u32 i, u32 side)
{
	u64 rtt = kni_take_all(&cold->rtt[side]);

	if (!rtt)
		return;
	record->rtt_count[i] = rtt >> KNI_PACKETS_SHIFT;
	record->rtt_sum_ns[i] = (rtt & KNI_BYTES_MASK) << 6;
	record->rtt_min_ns[i] = ~cold->rtt_least[side];
	record->rtt_max_ns[i] = cold->rtt_most[side];
	record->rtt_shift[i] = cold->rtt_shift[side];
	__builtin_memcpy(record->rtt_samples[i], cold->rtt_samples[side], sizeof(record->rtt_samples[i]));
	__builtin_memcpy(record->rtt_lanes[i], cold->rtt_lanes[side], sizeof(record->rtt_lanes[i]));
	__builtin_memset(cold->rtt_lanes[side], 0, sizeof(cold->rtt_lanes[side]));
	cold->rtt_least[side] = cold->rtt_most[side] = 0;
}

/* What side sent, as the record's i-th direction. */
static __always_inline void kni_fill_direction(struct kni_flow_record *record, struct kni_hot *hot,
					       struct kni_cold *cold, u32 i, u32 side)
{
	u64 count = kni_take_all(&hot->count[side]);

	record->packets[i] = (count >> KNI_PACKETS_SHIFT) + kni_take_all(&cold->spilled_packets[side]);
	record->bytes[i] = (count & KNI_BYTES_MASK) + kni_take_all(&cold->spilled_bytes[side]);
	record->packet_bytes_max[i] = hot->longest[side];
	record->packet_bytes_min[i] = hot->longest[side] ? 65535 - hot->shortest[side] : 0;
	hot->longest[side] = hot->shortest[side] = 0;
	kni_fill_rtt(record, cold, i, side);
}

static __always_inline void kni_fill_connections(struct kni_flow_record *record, struct kni_cold *cold, u32 client)
{
	u64 retransmits = kni_take_all(&cold->retransmits), resets = kni_take_all(&cold->resets);
	u64 connections = kni_take_all(&cold->connections), handshake = kni_take_all(&cold->handshake_ns);

	record->retransmits[0] = client ? retransmits >> 32 : retransmits;
	record->retransmits[1] = client ? retransmits : retransmits >> 32;
	record->resets[0] = client ? resets >> 32 : resets;
	record->resets[1] = client ? resets : resets >> 32;
	record->handshake_ns[0] = handshake;
	record->handshake_ns[1] = handshake >> 32;
	record->connections_opened = connections;
	record->connections_closed = connections >> 16;
	record->connections_refused = connections >> 32;
	record->connections_no_answer = connections >> 48;
}

/* Takes the flags of the growth and the mark that something waits; returns the state as it was. */
static __always_inline union kni_state kni_take_state(struct kni_hot *hot)
{
	union kni_state old = { .word = hot->state.word };

#pragma unroll
	for (u32 tries = 0; tries < KNI_TRIES; tries++) {
		union kni_state next = old;
		u64 seen;

		next.tcp_flags[0] = next.tcp_flags[1] = 0;
		next.marks &= ~KNI_PENDING;
		seen = __sync_val_compare_and_swap(&hot->state.word, old.word, next.word);
		if (seen == old.word)
			break;
		old.word = seen;
	}
	return old;
}

static __always_inline void kni_fill_record(struct kni_flow_record *record, struct kni_hot *hot, struct kni_cold *cold,
					    struct kni_span span, u64 now, u8 reason)
{
	union kni_state state = kni_take_state(hot);
	u32 client = state.client & 1;

	__builtin_memset(record, 0, sizeof(*record));
	if (!span.first)
		span.first = span.last;
	if ((s32)(span.last - span.first) < 0)
		span.last = span.first; /* another CPU's older clock came last */
	record->time_start_ns = kni_from_tick(now, span.first);
	record->time_end_ns = kni_from_tick(now, span.last);
	record->flow_end_reason = reason;
	record->biflow_direction = state.marks & KNI_INITIATED ? KNI_INITIATOR : KNI_ARBITRARY;
	record->local_socket = (state.marks & KNI_LOCAL_SOCKET) != 0;
	record->tcp_flags[0] = client ? state.tcp_flags[1] : state.tcp_flags[0];
	record->tcp_flags[1] = client ? state.tcp_flags[0] : state.tcp_flags[1];
	kni_fill_identity(record, &cold->identity, client);
	kni_fill_direction(record, hot, cold, 0, client);
	kni_fill_direction(record, hot, cold, 1, client ^ 1);
	kni_fill_connections(record, cold, client);
}

/* What the i-th direction of a record of one packet says. i: a constant, since Linux 6.1 sees no bound of it. */
static __always_inline void kni_fill_sent(struct kni_flow_record *record, const struct kni_packet *packet,
					  const struct kni_frame *frame, u32 i)
{
	record->packets[i] = frame->segments;
	record->bytes[i] = frame->bytes;
	record->tcp_flags[i] = packet->tcp_flags;
	record->packet_bytes_max[i] = frame->full < 65535 ? frame->full : 65535;
	record->packet_bytes_min[i] = frame->rest < 65535 ? frame->rest : 65535;
}

/* A packet that found no place in the table: a record of its own. */
static __always_inline void kni_fill_single(struct kni_flow_record *record, const struct kni_packet *packet,
					    const struct kni_frame *frame, u64 now)
{
	u32 side = packet->side & 1, has_syn = packet->is_tcp && packet->tcp_flags & KNI_SYN;
	u32 client = has_syn ? side ^ (packet->tcp_flags >> 4 & 1) : 0;
	u32 i = side ^ client;

	__builtin_memset(record, 0, sizeof(*record));
	record->time_start_ns = record->time_end_ns = now;
	record->flow_end_reason = KNI_END_LACK_OF_RESOURCES;
	record->biflow_direction = has_syn ? KNI_INITIATOR : KNI_ARBITRARY;
	record->local_socket = frame->has_local_socket;
	kni_fill_identity(record, &packet->identity, client);
	record->flow_direction = (frame->direction ^ i) & 1; /* in an identity only entries of the table have it */
	if (!packet->is_tunnelled)
		__builtin_memset(record->outer_src_addr, 0, 2 * sizeof(record->outer_src_addr));
	if (i)
		kni_fill_sent(record, packet, frame, 1);
	else
		kni_fill_sent(record, packet, frame, 0);
}

#endif
