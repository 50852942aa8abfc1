/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets at the hooks to one outcome each: parsed, accounted, in the interface's total. Stands behind flow_monitor.c in
 * the same compilation, whose maps it shares.
 *
 * All hooks run one body. They never drop, never redirect, never stop another program from seeing the packet.
 */
enum { TC_ACT_UNSPEC = -1 }; /* go on with the next filter */

static __always_inline struct kni_slot slot_of(u32 ifindex)
{
	u32 low = ifindex & (KNI_INLINE_SLOTS - 1);
	struct kni_slot *slot = slots.lookup(&low), none = { .interface_kind = KNI_POD };

	if (slot && slot->ifindex == ifindex)
		return *slot;
	slot = crowded_slots.lookup(&ifindex);
	return slot ? *slot : none;
}

/* NULL: never, but the verifier does not know. */
static __always_inline struct kni_desk *open_desk(u32 ifindex, u32 direction)
{
	u32 zero = 0;
	struct kni_desk *desk = desks.lookup(&zero);

	if (desk)
		kni_clear_desk(desk, slot_of(ifindex), ifindex, direction);
	return desk;
}

/* What every hook does with a frame that was looked at. */
static __always_inline void conclude(struct kni_desk *desk)
{
	u32 index = desk->slot.slot * 2 + desk->frame.direction;
	struct kni_hook_total *total = hook_totals.lookup(&index);
	struct kni_packet *packet = &desk->packet;

	if (!total)
		return;
	if (packet->verdict == KNI_IS_NOT_IP) {
		kni_tally(total, KNI_NON_IP, &desk->frame);
	} else if (packet->verdict != KNI_PARSED) {
		kni_tally(total, KNI_MALFORMED, &desk->frame);
	} else {
		packet->identity.ifindex = desk->frame.ifindex;
		packet->identity.interface_kind = desk->slot.interface_kind;
		kni_order(packet);
		kni_count_sizes(total, packet, &desk->frame);
		if (account(desk) == KNI_ACCOUNTED)
			kni_tally(total, KNI_ACCOUNTED, &desk->frame);
		else
			kni_tally(total, KNI_LOST, &desk->frame);
	}
}

static __always_inline void observe_xdp(struct xdp_md *context)
{
	struct kni_desk *desk = open_desk(context->ingress_ifindex, KNI_INGRESS);

	if (!desk)
		return;
	kni_look_at_frame(context, desk);
	conclude(desk);
}

static __always_inline void observe_tc(struct __sk_buff *context, u32 direction)
{
	struct kni_desk *desk = open_desk(context->ifindex, direction);

	if (!desk)
		return;
	kni_look_at_socket_buffer(context, desk);
	conclude(desk);
}

int xdp_ingress(struct xdp_md *context)
{
	observe_xdp(context);
	return XDP_PASS;
}

int tc_ingress(struct __sk_buff *context)
{
	observe_tc(context, KNI_INGRESS);
	return TC_ACT_UNSPEC;
}

int tc_egress(struct __sk_buff *context)
{
	observe_tc(context, KNI_EGRESS);
	return TC_ACT_UNSPEC;
}
