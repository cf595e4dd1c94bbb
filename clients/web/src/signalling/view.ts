/**
 * Turns what an app wants to see into wishes for single slots.
 *
 * Owns: the choice of a slot for each wish.
 * Never: moves a track that already has a slot; that would blank its tile for nothing.
 */
import type { Follow, Slot, SlotWish } from '../generated/protocol.js';

/** A wish that names a track or a policy, but no slot yet. */
export interface ResolvedWish {
  readonly trackId?: string;
  readonly follow?: Follow;
  readonly width?: number;
  readonly height?: number;
  readonly priority?: number;
}

/**
 * Gives each wish a video slot: the one that its track has, else a free one, else any that no wish
 * holds. Wishes beyond the number of slots are left out, lowest priority first.
 */
export function assignView(
  wishes: readonly ResolvedWish[],
  videoSlots: readonly Slot[],
): SlotWish[] {
  const kept = [...wishes]
    .map((wish, order) => ({ wish, order }))
    .sort((a, b) => (b.wish.priority ?? 0) - (a.wish.priority ?? 0) || a.order - b.order)
    .slice(0, videoSlots.length)
    .sort((a, b) => a.order - b.order)
    .map(({ wish }) => wish);
  const free = new Map(videoSlots.map((slot) => [slot.mid, slot]));
  const mids = new Map<ResolvedWish, string>();
  for (const wish of kept) {
    if (wish.trackId === undefined) continue;
    const slot = [...free.values()].find((candidate) => candidate.trackId === wish.trackId);
    if (slot === undefined) continue;
    free.delete(slot.mid);
    mids.set(wish, slot.mid);
  }
  for (const wish of kept) {
    if (mids.has(wish)) continue;
    const rest = [...free.values()];
    const slot = rest.find((candidate) => candidate.trackId === undefined) ?? rest[0];
    if (slot === undefined) continue;
    free.delete(slot.mid);
    mids.set(wish, slot.mid);
  }
  return kept.flatMap((wish) => {
    const mid = mids.get(wish);
    return mid === undefined ? [] : [{ ...wish, mid }];
  });
}
