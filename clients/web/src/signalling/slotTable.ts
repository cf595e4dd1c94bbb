/**
 * Which track feeds which receive slot, as a pure function of a snapshot and the changes after it.
 *
 * Owns: slots as data, and lookups in them.
 * Never: touches a peer connection.
 */
import type { Slot } from '../generated/protocol.js';

export interface SlotTable {
  readonly snapshotVersion: number;
  /** By `a=mid`, in m-line order. */
  readonly byMid: ReadonlyMap<string, Slot>;
}

export const NO_SLOTS: SlotTable = { snapshotVersion: 0, byMid: new Map() };

export function slotTableFrom(snapshot: {
  readonly version: number;
  readonly slots: readonly Slot[];
}): SlotTable {
  return {
    snapshotVersion: snapshot.version,
    byMid: new Map(snapshot.slots.map((slot) => [slot.mid, slot])),
  };
}

/**
 * The table after a `slots` message. A row says all about its slot, so one of the snapshot's own
 * version does no harm; an older one does.
 */
export function applySlots(
  table: SlotTable,
  change: { readonly version: number; readonly slots: readonly Slot[] },
): SlotTable {
  if (change.version < table.snapshotVersion || change.slots.length === 0) return table;
  const byMid = new Map(table.byMid);
  for (const slot of change.slots) byMid.set(slot.mid, slot);
  return { ...table, byMid };
}

/** The slot that a track is assigned to, if any. */
export function slotOfTrack(table: SlotTable, trackId: string): Slot | undefined {
  for (const slot of table.byMid.values()) if (slot.trackId === trackId) return slot;
  return undefined;
}

/** The slots of one kind, by index. */
export function slotsOfKind(table: SlotTable, kind: Slot['kind']): Slot[] {
  return [...table.byMid.values()]
    .filter((slot) => slot.kind === kind)
    .sort((a, b) => a.index - b.index);
}
