import { describe, expect, it } from 'vitest';
import { applyChange, type RosterChange, rosterFrom } from '../src/signalling/roster.js';
import { participant } from './support/fakeSocket.js';

const track = { trackId: 'T1', clientId: 'camera-1', source: 'camera' as const, muted: false };

function base() {
  return rosterFrom({
    version: 10,
    participants: [participant('a', { tracks: [track] }), participant('b')],
  });
}

function change(version: number, rest: object): RosterChange {
  return { callId: 'c', version, ...rest } as RosterChange;
}

describe('roster', () => {
  it('starts as the snapshot', () => {
    expect([...base().participants.keys()]).toEqual(['a', 'b']);
  });

  it('ignores what the snapshot already holds', () => {
    const roster = base();
    const left = change(10, { type: 'participantLeft', participantId: 'a' });
    expect(applyChange(roster, left)).toBe(roster);
  });

  it('takes several changes of one version, as one event of the call may make them', () => {
    let roster = base();
    roster = applyChange(
      roster,
      change(11, { type: 'participantJoined', participant: participant('c') }),
    );
    roster = applyChange(
      roster,
      change(11, {
        type: 'trackPublished',
        participantId: 'c',
        track: { ...track, trackId: 'T2' },
      }),
    );
    expect(roster.participants.get('c')?.tracks.map((t) => t.trackId)).toEqual(['T2']);
  });

  it('joins, updates and leaves', () => {
    let roster = base();
    roster = applyChange(
      roster,
      change(11, { type: 'participantUpdated', participantId: 'a', connection: 'reconnecting' }),
    );
    expect(roster.participants.get('a')?.connection).toBe('reconnecting');
    roster = applyChange(roster, change(12, { type: 'participantLeft', participantId: 'a' }));
    expect([...roster.participants.keys()]).toEqual(['b']);
  });

  it('publishes, mutes and unpublishes tracks', () => {
    let roster = base();
    roster = applyChange(
      roster,
      change(11, { type: 'trackUpdated', participantId: 'a', track: { ...track, muted: true } }),
    );
    expect(roster.participants.get('a')?.tracks).toEqual([{ ...track, muted: true }]);
    roster = applyChange(
      roster,
      change(12, { type: 'trackUnpublished', participantId: 'a', trackId: 'T1' }),
    );
    expect(roster.participants.get('a')?.tracks).toEqual([]);
  });

  it('is the same object after changes about strangers', () => {
    const roster = base();
    for (const rest of [
      { type: 'participantLeft', participantId: 'x' },
      { type: 'trackPublished', participantId: 'x', track },
      { type: 'participantUpdated', participantId: 'x', connection: 'connected' },
    ]) {
      expect(applyChange(roster, change(11, rest))).toBe(roster);
    }
  });

  it('never changes a roster in place', () => {
    const roster = base();
    applyChange(roster, change(11, { type: 'participantLeft', participantId: 'a' }));
    expect(roster.participants.has('a')).toBe(true);
  });
});
