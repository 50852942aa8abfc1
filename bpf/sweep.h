/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A place and what user space chose for it to what is still right to do. Packets go on coming meanwhile: each step holds, or
 * does nothing. Pure: who calls it exports in between.
 */
#ifndef KNI_SWEEP_H
#define KNI_SWEEP_H

#include "export.h"

/* One conversation's place in the table. */
struct kni_entry {
	u64 *tag;
	struct kni_hot *hot;
	struct kni_cold *cold;
};

static __always_inline u32 kni_has_growth(const struct kni_entry *entry)
{
	const struct kni_hot *hot = entry->hot;
	const struct kni_cold *cold = entry->cold;

	return (hot->count[0] | hot->count[1] | cold->spilled_packets[0] | cold->spilled_packets[1] |
		cold->spilled_bytes[0] | cold->spilled_bytes[1] | cold->rtt[0] | cold->rtt[1] | cold->connections |
		cold->retransmits | cold->resets | cold->handshake_ns) != 0;
}

static __always_inline u8 kni_end_reason(const struct kni_hot *hot)
{
	return hot->state.phase == KNI_ENDED ? KNI_END_DETECTED : KNI_END_IDLE;
}

/* Counts a SYN that got no answer, unless one came just now. */
static __always_inline void kni_give_up(struct kni_sweep *sweep, struct kni_entry *entry)
{
	union kni_state old = { .word = entry->hot->state.word }, next = old;

	if (old.phase != KNI_SYN_SENT)
		return;
	next.phase = KNI_UNANSWERED;
	next.marks |= KNI_PENDING;
	if (__sync_val_compare_and_swap(&entry->hot->state.word, old.word, next.word) != old.word)
		return;
	__sync_fetch_and_add(&entry->cold->connections, kni_connection_counts(KNI_NO_ANSWER));
	sweep->unanswered++;
}

/* Returns why the entry has to be exported (enum kni_flow_end_reason), *span being won, or 0 if it has not to. */
static __always_inline u8 kni_prepare(struct kni_sweep *sweep, const struct kni_job *job, struct kni_entry *entry,
				      struct kni_span *span)
{
	struct kni_hot *hot = entry->hot;

	span->first = hot->first;
	span->last = hot->last;
	if (*entry->tag == KNI_GONE)
		return job->command == KNI_HARVEST && kni_has_growth(entry) ? kni_end_reason(hot) : 0;
	if (*entry->tag == KNI_FREE || job->command == KNI_HARVEST || !(hot->state.marks & KNI_READY))
		return 0;
	if (job->command != KNI_FLUSH && span->last != job->last)
		return 0;
	if (job->command == KNI_GIVE_UP)
		kni_give_up(sweep, entry);
	if (!kni_has_growth(entry) || (span->first && !kni_win(hot, *span, 0, span->last)))
		return 0;
	return job->command == KNI_FLUSH ? KNI_END_FORCED : kni_end_reason(hot);
}

/*
 * Behind the export, if there was one. A retired place is found by no packet any more; it is emptied after a grace period.
 * Only what has nothing left to export is retired, or a full ring would fill a bucket with entries of one conversation.
 */
static __always_inline void kni_finish(struct kni_sweep *sweep, const struct kni_job *job, struct kni_entry *entry)
{
	u64 tag = *entry->tag;

	if (job->command == KNI_HARVEST && tag == KNI_GONE) {
		__builtin_memset(entry->hot, 0, sizeof(*entry->hot));
		__builtin_memset(entry->cold, 0, sizeof(*entry->cold));
		__sync_lock_test_and_set(entry->tag, KNI_FREE);
		sweep->freed++;
	} else if (job->command == KNI_RETIRE && tag > KNI_GONE && entry->hot->last == job->last &&
		   !kni_has_growth(entry)) {
		__sync_lock_test_and_set(entry->tag, KNI_GONE);
		sweep->retired++;
	}
}

#endif
