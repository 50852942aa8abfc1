/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * kfree_skb to drop records: each dropped packet of this node is filed under reason, call site, namespace, interface and
 * conversation; a sweep moves what was filed into the ring.
 *
 * Two maps take turns. The tick flips drop_epoch, waits until no CPU can still hold the old index (an RCU grace period)
 * and runs sweep_drops once per entry of the map that rests now: reserve, submit, delete in one run, so that an entry is
 * in the map or in the ring whenever the tick is killed, and stays in the map while the ring is full. The law: packets
 * and bytes of class `attributed` = those of the records + what the maps hold.
 *
 * KNI_HAVE_REASON (5.17), KNI_HAVE_RX_SK (6.11) and KNI_HAVE_SNPRINTF (5.13) say what this kernel has.
 */
#include "records.h"
#include "drop_table.h"
#include "drop_packet.h"

BPF_TABLE("hash", struct kni_drop_key, struct kni_drop_sum, drops_0, KNI_DROP_ENTRIES);
BPF_TABLE("hash", struct kni_drop_key, struct kni_drop_sum, drops_1, KNI_DROP_ENTRIES);
BPF_ARRAY(drop_epoch, u64, 1); /* the map of new drops is drops_0 when even */
BPF_PERCPU_ARRAY(drop_totals, struct kni_drop_totals, 1);
BPF_HASH(watched_netns, u32, u32, KNI_WATCHED_NETNS); /* inode → enum kni_watched */
BPF_HASH(call_sites, u64, struct kni_call_site, KNI_CALL_SITES);
BPF_RINGBUF_OUTPUT(drops_ring, KNI_DROPS_RING_PAGES);
BPF_F_TABLE("array", u32, struct kni_drop_key, drop_jobs, KNI_DROP_ENTRIES, BPF_F_MMAPABLE);
BPF_ARRAY(drop_sweep, struct kni_drop_sweep, 1);
#ifdef KNI_HAVE_SNPRINTF
/* bpf_snprintf takes its format from read-only memory only: the loader writes "%pS" and freezes the map. */
struct kni_format {
	char text[8];
};
BPF_F_TABLE("array", u32, struct kni_format, call_site_format, 1, BPF_F_RDONLY_PROG);
#endif

static __always_inline int count(u32 class, struct dropped *packet)
{
	u32 zero = 0;
	struct kni_drop_totals *totals = drop_totals.lookup(&zero);

	if (!totals || class >= KNI_DROP_CLASSES)
		return 0;
	/* Before 6.1 an interrupt may run this program once more on the same CPU: plain additions would lose. */
	__sync_fetch_and_add(&totals->frames[class], 1);
	__sync_fetch_and_add(&totals->packets[class], packet->packets);
	__sync_fetch_and_add(&totals->bytes[class], packet->bytes);
	return 0;
}

/* Prints the call site once; without bpf_snprintf, or with the map full, user space shows the address. */
static __always_inline void name_call_site(u64 location)
{
#ifdef KNI_HAVE_SNPRINTF
	struct kni_call_site site = {};
	u64 arguments[1] = { location };
	struct kni_format *format;
	u32 zero = 0;

	if (call_sites.lookup(&location))
		return;
	format = call_site_format.lookup(&zero);
	if (!format)
		return;
	bpf_snprintf(site.text, sizeof(site.text), (char *)format, arguments, sizeof(arguments));
	call_sites.update(&location, &site);
#endif
}

/* The sum of this key in the map of new drops, made if there is none; NULL when the map is full. */
static __always_inline struct kni_drop_sum *find_sum(struct kni_drop_key *key, u64 now)
{
	struct kni_drop_sum *sum, fresh = { .time_start_ns = now, .time_end_ns = now };
	u32 zero = 0;
	u64 *epoch = drop_epoch.lookup(&zero);

	if (!epoch)
		return NULL;
	if (*epoch & 1) {
		sum = drops_1.lookup(key);
		if (sum)
			return sum;
		drops_1.insert(key, &fresh);
		sum = drops_1.lookup(key);
	} else {
		sum = drops_0.lookup(key);
		if (sum)
			return sum;
		drops_0.insert(key, &fresh);
		sum = drops_0.lookup(key);
	}
	name_call_site(key->location);
	return sum;
}

static __always_inline int file(struct kni_drop_key *key, struct dropped *packet)
{
	u64 tcp_flags = read_conversation(key, packet);
	u64 now = bpf_ktime_get_ns();
	struct kni_drop_sum *sum;

	if (!key->ip_version)
		return count(KNI_DROP_NOT_IP, packet);
	sum = find_sum(key, now);
	if (!sum)
		return count(KNI_DROP_MAP_FULL, packet);
	__sync_fetch_and_add(&sum->packets, packet->packets);
	__sync_fetch_and_add(&sum->bytes, packet->bytes);
	if (tcp_flags)
		__sync_fetch_and_or(&sum->tcp_flags, tcp_flags);
	if (now > sum->time_end_ns)
		sum->time_end_ns = now;
	return count(KNI_DROP_ATTRIBUTED, packet);
}

/*
 * Whose drop is it: by the device; on the way out there may be only the sending socket, in TCP's receive queues only the
 * receiving one. ATTRIBUTED here means: of a watched namespace, still to be filed.
 */
static __always_inline u32 locate(struct kni_drop_key *key, void *skb, void *rx_socket)
{
	void *device = NULL, *net = NULL, *socket = NULL;
	u32 *watched;

	READ(device, skb, KNI_SKB_DEV_OFFSET);
	if (device)
		READ(net, device, KNI_DEVICE_NET_OFFSET);
	key->netns = netns_of(net);
	watched = watched_netns.lookup(&key->netns);
	/* An index inside a pod's namespace names nothing outside of it. */
	if (watched && *watched == KNI_WATCHED_NODE)
		READ(key->ifindex, device, KNI_DEVICE_IFINDEX_OFFSET);
	if (watched)
		return KNI_DROP_ATTRIBUTED;
	if (net && is_netns(net))
		return KNI_DROP_UNWATCHED;
	READ(socket, skb, KNI_SKB_SK_OFFSET);
	key->netns = netns_of_socket(socket);
	if (!key->netns)
		key->netns = netns_of_socket(rx_socket);
	if (!key->netns)
		return KNI_DROP_UNATTRIBUTED;
	return watched_netns.lookup(&key->netns) ? KNI_DROP_ATTRIBUTED : KNI_DROP_UNWATCHED;
}

/* raw tracepoint kfree_skb(skb, location, reason, rx_sk) */
int on_drop(struct bpf_raw_tracepoint_args *ctx)
{
	/* All arguments at the top: after other code the verifier sees "dereference of modified ctx". */
	struct dropped packet = { .skb = (void *)ctx->args[0] };
	struct kni_drop_key key = { .location = ctx->args[1] };
	void *rx_socket = NULL;
	u32 class;
#ifdef KNI_HAVE_REASON
	key.reason = ctx->args[2];
#endif
#ifdef KNI_HAVE_RX_SK
	rx_socket = (void *)ctx->args[3];
#endif

	measure(&packet);
	class = locate(&key, packet.skb, rx_socket);
	return class == KNI_DROP_ATTRIBUTED ? file(&key, &packet) : count(class, &packet);
}

static __always_inline void fill(struct kni_drop_record *record, struct kni_drop_key *key, struct kni_drop_sum *sum)
{
	__builtin_memset(record, 0, sizeof(*record));
	record->time_start_ns = sum->time_start_ns;
	record->time_end_ns = sum->time_end_ns;
	record->packets = sum->packets;
	record->bytes = sum->bytes;
	record->location = key->location;
	__builtin_memcpy(record->src_addr, key->src_addr, 16);
	__builtin_memcpy(record->dst_addr, key->dst_addr, 16);
	record->netns = key->netns;
	record->ifindex = key->ifindex;
	record->reason = key->reason;
	record->src_port = key->src_port;
	record->dst_port = key->dst_port;
	record->protocol = key->protocol;
	record->ip_version = key->ip_version;
	record->tcp_flags = sum->tcp_flags;
}

/* BPF_PROG_TEST_RUN with repeat = number of jobs: each run moves one entry of the resting map to the ring. */
int sweep_drops(struct __sk_buff *unused)
{
	struct kni_drop_record *record;
	struct kni_drop_sweep *sweep;
	struct kni_drop_sum *sum;
	struct kni_drop_key *job, key;
	u32 zero = 0, index;
	u64 *epoch, resting;

	epoch = drop_epoch.lookup(&zero);
	sweep = drop_sweep.lookup(&zero);
	if (!epoch || !sweep)
		return 0;
	resting = (*epoch & 1) ^ 1;
	index = sweep->next++;
	job = drop_jobs.lookup(&index);
	if (!job)
		return 0;
	key = *job;
	sum = resting ? drops_1.lookup(&key) : drops_0.lookup(&key);
	if (!sum)
		return 0;
	record = drops_ring.ringbuf_reserve(sizeof(*record));
	if (!record) {
		sweep->refused++;
		return 0;
	}
	fill(record, &key, sum);
	drops_ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	if (resting)
		drops_1.delete(&key);
	else
		drops_0.delete(&key);
	sweep->moved++;
	return 0;
}
