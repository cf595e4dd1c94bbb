/**
 * Who is in the call, as a pure function of a snapshot and the changes after it.
 *
 * Owns: participants and their tracks as data.
 * Never: has events or objects that live on; `RemoteParticipants` makes those from it.
 */
import type { Participant, ServerMessage, Track } from '../generated/protocol.js';

export interface Roster {
  /** Changes up to here are part of the snapshot and are ignored. */
  readonly snapshotVersion: number;
  readonly participants: ReadonlyMap<string, Participant>;
}

/** The messages that change a roster. */
export type RosterChange = Extract<
  ServerMessage,
  {
    type:
      | 'participantJoined'
      | 'participantLeft'
      | 'participantUpdated'
      | 'trackPublished'
      | 'trackUnpublished'
      | 'trackUpdated';
  }
>;

export const EMPTY_ROSTER: Roster = { snapshotVersion: 0, participants: new Map() };

export function rosterFrom(snapshot: {
  readonly version: number;
  readonly participants: readonly Participant[];
}): Roster {
  return {
    snapshotVersion: snapshot.version,
    participants: new Map(snapshot.participants.map((p) => [p.participantId, p])),
  };
}

/** The roster after the change; the same object if nothing changed. */
export function applyChange(roster: Roster, change: RosterChange): Roster {
  // A socket keeps order, so only what a snapshot already holds can be stale.
  if (change.version <= roster.snapshotVersion) return roster;
  switch (change.type) {
    case 'participantJoined':
      return withParticipant(roster, change.participant);
    case 'participantLeft': {
      if (!roster.participants.has(change.participantId)) return roster;
      const participants = new Map(roster.participants);
      participants.delete(change.participantId);
      return { ...roster, participants };
    }
    case 'participantUpdated':
      return update(roster, change.participantId, (p) => ({ ...p, connection: change.connection }));
    case 'trackPublished':
    case 'trackUpdated':
      return update(roster, change.participantId, (p) => ({
        ...p,
        tracks: withTrack(p.tracks, change.track),
      }));
    case 'trackUnpublished':
      return update(roster, change.participantId, (p) => ({
        ...p,
        tracks: p.tracks.filter((track) => track.trackId !== change.trackId),
      }));
  }
}

function update(
  roster: Roster,
  participantId: string,
  change: (participant: Participant) => Participant,
): Roster {
  const participant = roster.participants.get(participantId);
  return participant === undefined ? roster : withParticipant(roster, change(participant));
}

function withParticipant(roster: Roster, participant: Participant): Roster {
  const participants = new Map(roster.participants);
  participants.set(participant.participantId, participant);
  return { ...roster, participants };
}

function withTrack(tracks: readonly Track[], track: Track): Track[] {
  const known = tracks.some((other) => other.trackId === track.trackId);
  return known
    ? tracks.map((other) => (other.trackId === track.trackId ? track : other))
    : [...tracks, track];
}
