/**
 * Keeps the `RemoteParticipant` objects in step with roster and slots.
 *
 * Owns: their creation and removal; snapshot and delta take the same way.
 * Never: reads messages.
 */
import type { Track } from '../generated/protocol.js';
import type { Roster } from '../signalling/roster.js';
import { type SlotTable, slotOfTrack } from '../signalling/slotTable.js';
import { type Locate, RemoteParticipant } from './remoteParticipant.js';
import type { Attachment } from './remoteVideoStream.js';

export interface ParticipantsUpdated {
  readonly added: readonly RemoteParticipant[];
  readonly removed: readonly RemoteParticipant[];
}

export class RemoteParticipants {
  readonly #byId = new Map<string, RemoteParticipant>();

  get all(): readonly RemoteParticipant[] {
    return [...this.#byId.values()];
  }

  get(participantId: string): RemoteParticipant | undefined {
    return this.#byId.get(participantId);
  }

  /** Brings all objects up to date; those added are complete when this returns. */
  update(
    roster: Roster,
    ownId: string,
    slots: SlotTable,
    receiver: (mid: string) => RTCRtpReceiver | undefined,
  ): ParticipantsUpdated {
    const locate: Locate = (track, csrc) => {
      const slot = slotOfTrack(slots, track.trackId);
      return { slot, attachment: slot && attachmentOf(track, csrc, slot, receiver(slot.mid)) };
    };
    const added: RemoteParticipant[] = [];
    const removed: RemoteParticipant[] = [];
    for (const [id, participant] of this.#byId) {
      if (roster.participants.has(id) && id !== ownId) continue;
      this.#byId.delete(id);
      removed.push(participant);
    }
    for (const [id, participant] of roster.participants) {
      if (id === ownId) continue;
      let remote = this.#byId.get(id);
      if (remote === undefined) {
        remote = new RemoteParticipant(participant);
        this.#byId.set(id, remote);
        added.push(remote);
      }
      remote.update(participant, locate);
    }
    for (const participant of removed) participant.remove();
    return { added, removed };
  }
}

function attachmentOf(
  track: Track,
  csrc: number,
  slot: { mid: string; state: string },
  receiver: RTCRtpReceiver | undefined,
): Attachment | undefined {
  if (receiver === undefined) return undefined;
  if (slot.state !== 'active' && slot.state !== 'waiting') return undefined;
  return {
    mid: slot.mid,
    trackId: track.trackId,
    receiver,
    csrc,
    flowing: slot.state === 'active',
  };
}
