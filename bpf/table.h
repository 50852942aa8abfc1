/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the kernel keeps and user space reads or writes in place: the table of conversations, totals, slots, the sweep.
 *
 * The same rules as in records.h: u8 … u64 and arrays, sorted by alignment, padding explicit; collector/records.py has
 * the same layouts, held by the same test.
 */
#ifndef KNI_TABLE_H
#define KNI_TABLE_H

#include "records.h"

/*
 * The table of conversations, which the sweep reads through mmap. A conversation's place is bucket * KNI_WAYS + way; what
 * every packet touches is hot, the rest is cold. Side 0 has the higher port (at equal ports the higher address, for ICMP
 * who asks); an array [2] here counts by the side that sent.
 */
#define KNI_WAYS 7

enum kni_tag {
	KNI_FREE = 0,
	KNI_GONE = 1, /* no packet finds it any more; it is emptied after a grace period. Else: the digest */
};

enum kni_phase {
	KNI_NOT_TCP = 0,
	KNI_MIDSTREAM = 1, /* its beginning was not seen */
	KNI_SYN_SENT = 2,
	KNI_UNANSWERED = 3, /* still half open, counted as no_answer */
	KNI_SYN_RECEIVED = 4,
	KNI_ESTABLISHED = 5,
	KNI_ENDED = 6,
};

enum kni_mark {
	KNI_FIN_OF_0 = 1, /* << side */
	KNI_READY = 4, /* the cold half is filled: may be exported */
	KNI_INITIATED = 8, /* the client is who sent the SYN */
	KNI_LOCAL_SOCKET = 16,
	KNI_PENDING = 32, /* something waits in the cold half that count does not show */
};

/* All that must change together, moved by compare-and-swap. */
union kni_state {
	u64 word;
	struct {
		u8 tcp_flags[2];
		u8 phase;
		u8 client; /* side */
		u8 marks;
		u8 reserved[3];
	};
};

struct kni_hot {
	u64 count[2]; /* packets << 40 | bytes, not exported yet */
	union kni_state state;
	u32 last; /* last and first packet since the last export, in 65.536 us, one aligned 64-bit word; */
	u32 first; /* first 0: none */
	u32 highest[2]; /* sequence end */
	u32 acknowledged[2]; /* the highest by side, of the other's */
	u32 gap_begin; /* the sequence numbers that were jumped over last, and have not come yet; */
	u32 gap_end; /* the same: none */
	u16 longest[2];
	u16 shortest[2]; /* 65535 - length, so that zero means none */
};

_Static_assert(sizeof(struct kni_hot) == 64, "one cache line");

struct kni_bucket {
	u64 tag[8]; /* KNI_WAYS of them are used */
	struct kni_hot way[KNI_WAYS];
};

_Static_assert(sizeof(struct kni_bucket) == 512, "never across two pages");

struct kni_identity {
	u64 address[2][2]; /* network order, in whole words: a store in halves stalls the load of the whole */
	u64 outer[2][2];
	u32 ifindex;
	u32 vni;
	u16 port[2];
	u8 protocol;
	u8 ip_version;
	u8 interface_kind;
	u8 direction; /* enum kni_flow_direction of side 0's packets */
};

/* Not by alignment: what a round trip touches stands together, in two or three of the five lines. */
struct kni_cold {
	u64 rtt[2]; /* samples << 40 | sum in 64 ns */
	u32 rtt_least[2]; /* ~ns, so that zero means none */
	u32 rtt_most[2]; /* ns */
	u32 gap_at; /* when they were, in 64 ns, but for the lowest bit: whose they are, a side */
	u16 round_trip; /* SYN to ACK, as kni_to_float16; 0: not seen */
	u8 rtt_shift[2];
	u16 rtt_lanes[2][KNI_LANES];
	u16 rtt_samples[2][KNI_SAMPLES];
	u64 retransmits; /* side 1 << 32 | side 0 */
	u64 resets;
	u64 connections; /* no_answer << 48 | refused << 32 | closed << 16 | opened */
	u64 handshake_ns; /* SYN/ACK to ACK << 32 | SYN to SYN/ACK */
	u64 spilled_packets[2];
	u64 spilled_bytes[2];
	u32 syn_sequence;
	u32 shaken_at; /* last step of the handshake, in 64 ns */
	struct kni_identity identity;
};

_Static_assert(sizeof(struct kni_cold) == 320, "five cache lines");

/* What every packet at a hook ends as: exactly one of these. */
enum kni_outcome {
	KNI_ACCOUNTED = 0,
	KNI_NON_IP = 1,
	KNI_MALFORMED = 2,
	KNI_LOST = 3, /* no place in the table, and its own record was refused: the ring is full */
	KNI_OUTCOMES = 4,
};

enum kni_protocol_class {
	KNI_CLASS_TCP = 0,
	KNI_CLASS_UDP = 1,
	KNI_CLASS_ICMP = 2, /* and ICMPv6 */
	KNI_CLASS_OTHER = 3,
	KNI_CLASSES = 4,
};

#define KNI_SIZES 12

/* Exact, per CPU, at slot * 2 + enum kni_flow_direction of the hook. */
struct kni_hook_total {
	u64 frames[KNI_OUTCOMES]; /* socket buffers: a super-packet is one */
	u64 packets[KNI_OUTCOMES]; /* as on the wire */
	u64 bytes[KNI_OUTCOMES];
	/* frame length <= 64 << bucket; the last: longer. Accounted and lost */
	u64 size_packets[KNI_CLASSES][KNI_SIZES];
	u64 size_bytes[KNI_CLASSES];
	u64 irregular_frames; /* among the accounted: ports readable, the rest of the transport header impossible */
};

_Static_assert(sizeof(struct kni_hook_total) == 520, "u64 only");

/* Per CPU: how exporting fares on the packets' path. */
struct kni_exporter {
	u64 paused_until_ns; /* the ring was full: nothing is tried before */
	u64 exported;
	u64 refused; /* the ring was full: the growth stays in the table */
	u64 single; /* no place in the table: a record of one packet */
	u64 spilled; /* a word of counters half full */
	u64 contended; /* a segment's flags not followed: other CPUs changed the connection all the time */
};

/*
 * Interface to slot. `slots` is indexed by ifindex & 65535 and right where ifindex is equal; of two watched interfaces
 * with equal low halves the second stands in the hash `crowded_slots`. So one array look-up finds nearly all of them,
 * whatever the index, and none wrongly. Slot 0 stands for all interfaces that have none.
 */
struct kni_slot {
	u32 ifindex;
	u16 slot;
	u8 interface_kind;
	u8 reserved;
};

_Static_assert(sizeof(struct kni_slot) == 8, "written as one word");

/* By slot; for the collector that comes after a restart. */
struct kni_interface {
	u64 counting_since_ns;
	u32 ifindex; /* 0: the slot is free */
	u8 interface_kind;
	u8 reserved[3];
	u8 name[16];
};

enum kni_sweep_command {
	KNI_EXPORT = 1, /* if nothing came since it was chosen */
	KNI_GIVE_UP = 2, /* count an unanswered SYN, export */
	KNI_RETIRE = 3,
	KNI_HARVEST = 4,
	KNI_FLUSH = 5, /* export, whatever came */
};

/* One per run of the sweep. */
struct kni_job {
	u32 place;
	u16 command;
	u16 reserved;
	u32 last; /* kni_hot.last when it was chosen */
	u32 reserved_too;
};

struct kni_sweep {
	u64 now_ns;
	u64 next; /* job */
	u64 exported;
	u64 refused; /* the ring was full */
	u64 unanswered;
	u64 retired;
	u64 freed;
};

#endif
