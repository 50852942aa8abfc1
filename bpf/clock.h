/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The one clock. By default packets are timed by the coarse one (12 ns a reading, so each CPU reads it once a jiffy: it is
 * at most two jiffies behind) and by the precise one (29 ns) where a latency is taken; -DKNI_CLOCK_PRECISE takes that
 * everywhere, -DKNI_CLOCK_REPLAY the capture's own, which stands in __sk_buff.tstamp (without one: the precise one).
 */
#ifndef KNI_CLOCK_H
#define KNI_CLOCK_H

#include "limits.h"

/* One frame at one hook. */
struct kni_frame {
	u64 captured_ns; /* of a replayed capture, else 0 */
	u32 length; /* of the frame or socket buffer */
	u32 segments; /* frames on the wire */
	u32 full; /* bytes on the wire of each of them but the last */
	u32 rest; /* and of the last */
	u32 payload; /* of each of them but the last; 0: there is but one */
	u64 bytes; /* of all */
	u32 direction; /* enum kni_flow_direction of the hook */
	u32 ifindex;
	u32 has_local_socket;
};

/* A CPU's last reading. */
struct kni_clock {
	u64 jiffies;
	u64 ns;
	u32 segments; /* with data, in this jiffy */
	u32 is_busy; /* there were many in the jiffies before */
};

static __always_inline u64 kni_coarse_now(struct kni_clock *clock)
{
	u64 jiffies = bpf_jiffies64();

	if (clock->jiffies != jiffies) {
		clock->ns = bpf_ktime_get_coarse_ns();
		clock->is_busy = clock->segments > KNI_BUSY_SEGMENTS * (jiffies - clock->jiffies);
		clock->jiffies = jiffies;
		clock->segments = 0;
	}
	return clock->ns;
}

static __always_inline u64 kni_precise_now(const struct kni_frame *frame)
{
#if defined(KNI_CLOCK_REPLAY)
	return frame->captured_ns ? frame->captured_ns : bpf_ktime_get_ns();
#else
	return bpf_ktime_get_ns();
#endif
}

static __always_inline u64 kni_now(const struct kni_frame *frame, struct kni_clock *clock)
{
#if defined(KNI_CLOCK_REPLAY) || defined(KNI_CLOCK_PRECISE)
	return kni_precise_now(frame);
#else
	return kni_coarse_now(clock);
#endif
}

/* In 65.536 us, 78 hours around; never 0, which says none. Two of them are compared as a signed difference. */
static __always_inline u32 kni_tick(u64 ns)
{
	u32 tick = ns >> 16;

	return tick ? tick : 1;
}

/* When it began; now: within 39 hours of it. */
static __always_inline u64 kni_from_tick(u64 now, u32 tick)
{
	return (now >> 16 << 16) + ((s64)(s32)(tick - kni_tick(now)) << 16);
}

#endif
