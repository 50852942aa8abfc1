/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Places that user space chose to records, and to room for new conversations. Stands behind flow_monitor.c in the same
 * compilation, whose maps it shares.
 */
/* One job a run: what user space chose by what it saw in the table, done if it still holds. */
static __always_inline void run_job(struct kni_sweep *sweep, const struct kni_job *job)
{
	u32 index = job->place / KNI_WAYS;
	u64 way = job->place % KNI_WAYS;
	struct kni_bucket *bucket = table.lookup(&index);
	struct kni_entry entry = { .cold = cold_of(index, way) };
	struct kni_span span;

	asm volatile("" : "+r"(way)); /* the compiler knows that it is less than 7, the verifier does not */
	if (!bucket || !entry.cold || way >= KNI_WAYS)
		return;
	entry.tag = &bucket->tag[way];
	entry.hot = &bucket->way[way];
	u8 reason = kni_prepare(sweep, job, &entry, &span);

	if (reason && !export_entry(entry.hot, entry.cold, span, sweep->now_ns, reason)) {
		entry.hot->first = span.first;
		sweep->refused++;
		return;
	}
	if (reason)
		sweep->exported++;
	kni_finish(sweep, job, &entry);
}

int sweep(struct __sk_buff *context)
{
	u32 zero = 0;
	struct kni_sweep *state = sweeps.lookup(&zero);

	if (!state)
		return 0;
	u32 next = state->next++;
	struct kni_job *job = jobs.lookup(&next);

	if (job)
		run_job(state, job);
	return 0;
}
