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
  readonly maxFramerate?: number;
  readonly priority?: number;
}

/**
 * Gives each wish a video slot: the one that its track has, else a free one, else any that no wish
 * holds. `placed` are the slots of the view before, which may not have been carried out yet. Wishes
 * beyond the number of slots are left out: first what is not seen, then the lowest priority.
 */
export function assignView(
  wishes: readonly ResolvedWish[],
  videoSlots: readonly Slot[],
  placed: ReadonlyMap<string, string> = new Map(),
): SlotWish[] {
  const kept = [...wishes]
    .map((wish, order) => ({ wish, order }))
    .sort(
      (a, b) =>
        Number(unseen(a.wish)) - Number(unseen(b.wish)) ||
        (b.wish.priority ?? 0) - (a.wish.priority ?? 0) ||
        a.order - b.order,
    )
    .slice(0, videoSlots.length)
    .sort((a, b) => a.order - b.order)
    .map(({ wish }) => wish);
  const free = new Map(videoSlots.map((slot) => [slot.mid, slot]));
  const mids = new Map<ResolvedWish, string>();
  for (const wish of kept) {
    if (wish.trackId === undefined) continue;
    const slot =
      free.get(placed.get(wish.trackId) ?? '') ??
      [...free.values()].find((candidate) => candidate.trackId === wish.trackId);
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

function unseen(wish: ResolvedWish): boolean {
  return wish.width === 0 || wish.height === 0;
}
