/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A TCP segment's flags to the next state of its connection, and what happened by that. Pure.
 *
 *   MIDSTREAM ─SYN─▶ SYN_SENT ─SYN/ACK─▶ SYN_RECEIVED ─ACK─▶ ESTABLISHED ─FIN both ways or RST─▶ ENDED ─SYN─▶ SYN_SENT
 *                    │  ▲ └─3 s (the sweep)─▶ UNANSWERED ─(as SYN_SENT)
 *                    RST └─another SYN
 *                    ▼
 *                    ENDED
 *
 * opened, closed, refused and no_answer are each raised at most once a connection, by who wins the compare-and-swap.
 */
#ifndef KNI_CONNECTION_H
#define KNI_CONNECTION_H

#include "packet.h"

enum kni_event {
	KNI_OPENED = 1,
	KNI_CLOSED = 2,
	KNI_REFUSED = 4,
	KNI_NO_ANSWER = 8,
	KNI_SYN_CAME = 16,
	KNI_ANSWERED = 32, /* SYN/ACK to a SYN that was seen */
	KNI_ACKNOWLEDGED = 64, /* ACK to a SYN/ACK that was seen */
	KNI_BEGAN_ANEW = 128,
	KNI_SYN_ACK_CAME = 256,
	KNI_FINISHED = 512, /* whether or not it was ever open */
	KNI_CONTENDED = 1024, /* other CPUs moved the state all the time: this segment did not */
	KNI_HANDSHAKE = KNI_SYN_CAME | KNI_SYN_ACK_CAME | KNI_ANSWERED | KNI_ACKNOWLEDGED,
};

static __always_inline u32 kni_is_half_open(u8 phase)
{
	return phase >= KNI_SYN_SENT && phase <= KNI_SYN_RECEIVED;
}

/*
 * Whether a SYN is the first of a new connection. A SYN into an established one is not: its peer challenges it (RFC 5961,
 * 4). is_repeated: it has the sequence number of the last SYN.
 */
static __always_inline u32 kni_begins_anew(const union kni_state *state, u8 side, u32 is_repeated)
{
	if (state->phase == KNI_MIDSTREAM)
		return 1;
	if (is_repeated || state->phase == KNI_ESTABLISHED)
		return 0;
	return !kni_is_half_open(state->phase) || side == state->client;
}

static __always_inline void kni_begin(union kni_state *state, u8 phase, u8 client)
{
	state->phase = phase;
	state->client = client;
	state->marks = (state->marks & ~(KNI_FIN_OF_0 | KNI_FIN_OF_0 << 1)) | KNI_INITIATED;
}

static __always_inline u32 kni_on_syn(union kni_state *state, u8 side, u32 is_repeated)
{
	u32 events = KNI_SYN_CAME;

	if (!kni_begins_anew(state, side, is_repeated))
		return state->phase == KNI_ESTABLISHED ? 0 : events;
	if (state->phase == KNI_SYN_SENT)
		events |= KNI_NO_ANSWER;
	kni_begin(state, KNI_SYN_SENT, side);
	return events | KNI_BEGAN_ANEW;
}

static __always_inline u32 kni_on_syn_ack(union kni_state *state, u8 side)
{
	u8 client = side ^ 1;

	if (state->phase == KNI_MIDSTREAM) {
		kni_begin(state, KNI_SYN_RECEIVED, client);
		return KNI_SYN_ACK_CAME | KNI_BEGAN_ANEW;
	}
	if (!kni_is_half_open(state->phase) || state->client != client)
		return 0;
	if (state->phase == KNI_SYN_RECEIVED)
		return KNI_SYN_ACK_CAME;
	state->phase = KNI_SYN_RECEIVED;
	return KNI_SYN_ACK_CAME | KNI_ANSWERED;
}

static __always_inline u32 kni_on_reset(union kni_state *state, u8 side)
{
	u8 phase = state->phase;

	state->phase = KNI_ENDED;
	if (phase == KNI_ENDED)
		return 0;
	if (phase == KNI_ESTABLISHED)
		return KNI_FINISHED | KNI_CLOSED;
	if ((phase == KNI_SYN_SENT || phase == KNI_UNANSWERED) && side != state->client)
		return KNI_FINISHED | KNI_REFUSED;
	return KNI_FINISHED;
}

/* A connection whose beginning was not seen counts as closed, too: both sides say that there was one. */
static __always_inline u32 kni_on_fin(union kni_state *state, u8 side)
{
	u8 both = KNI_FIN_OF_0 | KNI_FIN_OF_0 << 1;

	state->marks |= KNI_FIN_OF_0 << (side & 1);
	if ((state->marks & both) != both || state->phase == KNI_ENDED)
		return 0;
	state->phase = KNI_ENDED;
	return KNI_FINISHED | KNI_CLOSED;
}

/* Whether the flags can move the state at all: nearly no packet's do. */
static __always_inline u32 kni_moves(const union kni_state *state, u8 flags)
{
	return flags & (KNI_SYN | KNI_FIN | KNI_RST) || kni_is_half_open(state->phase);
}

/* Moves *state; returns the events (enum kni_event). */
static __always_inline u32 kni_step(union kni_state *state, u8 side, u8 flags, u32 is_repeated)
{
	u32 events = 0;

	if (flags & KNI_RST)
		return kni_on_reset(state, side);
	if (flags & KNI_SYN)
		return flags & KNI_ACK ? kni_on_syn_ack(state, side) : kni_on_syn(state, side, is_repeated);
	if (flags & KNI_ACK && kni_is_half_open(state->phase) && side == state->client) {
		events = KNI_OPENED | (state->phase == KNI_SYN_RECEIVED ? KNI_ACKNOWLEDGED : 0);
		state->phase = KNI_ESTABLISHED;
	}
	if (flags & KNI_FIN)
		events |= kni_on_fin(state, side);
	return events;
}

#endif
