import { describe, expect, it } from 'vitest';
import type { Slot } from '../src/generated/protocol.js';
import {
  applySlots,
  slotOfTrack,
  slotsOfKind,
  slotTableFrom,
} from '../src/signalling/slotTable.js';
import { assignView } from '../src/signalling/view.js';
import { emptySlots } from './support/fakeSocket.js';

function video(index: number, trackId?: string): Slot {
  const slot = { mid: String(index + 2), kind: 'video' as const, index };
  return trackId === undefined
    ? { ...slot, state: 'empty' }
    : { ...slot, trackId, participantId: 'p', state: 'active' };
}

describe('slot table', () => {
  const table = slotTableFrom({ version: 10, slots: emptySlots() });

  it('replaces the rows that changed', () => {
    const changed = applySlots(table, { version: 11, slots: [video(1, 'T1')] });
    expect(slotOfTrack(changed, 'T1')?.mid).toBe('3');
    expect(changed.byMid.size).toBe(5);
    expect(slotOfTrack(table, 'T1')).toBeUndefined();
  });

  it('follows a track from slot to slot', () => {
    let moved = applySlots(table, { version: 11, slots: [video(1, 'T1')] });
    moved = applySlots(moved, { version: 12, slots: [video(1), video(2, 'T1')] });
    expect(slotOfTrack(moved, 'T1')?.mid).toBe('4');
  });

  it('takes rows of the snapshot version, which say nothing older, and refuses older ones', () => {
    const row = { slots: [video(0, 'T1')] };
    expect(slotOfTrack(applySlots(table, { ...row, version: 10 }), 'T1')?.mid).toBe('2');
    expect(applySlots(table, { ...row, version: 9 })).toBe(table);
  });

  it('lists the slots of a kind by index', () => {
    const shuffled = slotTableFrom({ version: 1, slots: emptySlots().reverse() });
    expect(slotsOfKind(shuffled, 'video').map((slot) => slot.mid)).toEqual(['2', '3', '4']);
  });
});

describe('view', () => {
  it('leaves a track in the slot that it has', () => {
    const slots = [video(0, 'T1'), video(1, 'T2'), video(2)];
    const wishes = assignView([{ trackId: 'T2' }, { trackId: 'T1' }], slots);
    expect(wishes).toEqual([
      { trackId: 'T2', mid: '3' },
      { trackId: 'T1', mid: '2' },
    ]);
  });

  it('gives a new track a free slot before one that shows something', () => {
    const slots = [video(0, 'T1'), video(1, 'T2'), video(2)];
    expect(assignView([{ trackId: 'T3' }], slots)).toEqual([{ trackId: 'T3', mid: '4' }]);
  });

  it('never gives a policy the slot that another wish holds', () => {
    const slots = [video(0, 'T1'), video(1, 'T2')];
    const wishes = assignView([{ follow: 'activeSpeaker' }, { trackId: 'T1', width: 640 }], slots);
    expect(wishes).toEqual([
      { follow: 'activeSpeaker', mid: '3' },
      { trackId: 'T1', width: 640, mid: '2' },
    ]);
  });

  it('drops the least wanted where there are too few slots', () => {
    const slots = [video(0), video(1)];
    const wishes = assignView(
      [{ trackId: 'T1' }, { trackId: 'T2', priority: 9 }, { trackId: 'T3', priority: 5 }],
      slots,
    );
    expect(wishes.map((wish) => wish.trackId)).toEqual(['T2', 'T3']);
    expect(new Set(wishes.map((wish) => wish.mid)).size).toBe(2);
  });
});
