/**
 * Someone else in the call.
 *
 * Owns: the person's state as objects with events, made from roster and slots.
 * Never: outlives its participant; one who joins again is another.
 */
import { Emitter } from '../events.js';
import type { Participant, Slot, Source, Track } from '../generated/protocol.js';
import type { MediaStreamType } from '../local/localVideoStream.js';
import { type Attachment, RemoteVideoStream } from './remoteVideoStream.js';

export type RemoteParticipantState = 'Connected' | 'Reconnecting' | 'Disconnected';

/** As in the ACS common library. */
export interface CommunicationUserIdentifier {
  readonly kind: 'communicationUser';
  readonly communicationUserId: string;
}

export interface RemoteParticipantEvents {
  stateChanged: undefined;
  isMutedChanged: undefined;
  isSpeakingChanged: undefined;
  displayNameChanged: undefined;
  videoStreamsUpdated: {
    readonly added: readonly RemoteVideoStream[];
    readonly removed: readonly RemoteVideoStream[];
  };
}

/** @internal Looks up where a track's packets come in. */
export type Locate = (
  track: Track,
  csrc: number,
) => { readonly slot: Slot | undefined; readonly attachment: Attachment | undefined };

const VIDEO: readonly [Source, MediaStreamType][] = [
  ['camera', 'Video'],
  ['screen', 'ScreenSharing'],
];

export class RemoteParticipant extends Emitter<RemoteParticipantEvents> {
  readonly participantId: string;
  readonly #streams = new Map<Source, RemoteVideoStream>();
  #participant: Participant;
  #gone = false;
  #speaking = false;

  /** @internal */
  constructor(participant: Participant) {
    super();
    this.participantId = participant.participantId;
    this.#participant = { ...participant, tracks: [] };
  }

  get identifier(): CommunicationUserIdentifier {
    return { kind: 'communicationUser', communicationUserId: this.#participant.identity };
  }

  get displayName(): string {
    return this.#participant.displayName;
  }

  get state(): RemoteParticipantState {
    if (this.#gone) return 'Disconnected';
    return this.#participant.connection === 'connected' ? 'Connected' : 'Reconnecting';
  }

  /** True also for someone who publishes no microphone. */
  get isMuted(): boolean {
    const microphone = this.#participant.tracks.find((track) => track.source === 'microphone');
    return microphone === undefined || microphone.muted;
  }

  get isSpeaking(): boolean {
    return this.#speaking;
  }

  /** Camera and screen, from when they were first published; see `isAvailable` of each. */
  get videoStreams(): readonly RemoteVideoStream[] {
    return [...this.#streams.values()];
  }

  /** @internal */
  update(participant: Participant, locate: Locate): void {
    const before = { state: this.state, isMuted: this.isMuted, displayName: this.displayName };
    this.#participant = participant;
    const added: RemoteVideoStream[] = [];
    for (const [source, type] of VIDEO) {
      const track = participant.tracks.find((candidate) => candidate.source === source);
      let stream = this.#streams.get(source);
      if (stream === undefined && track !== undefined) {
        stream = new RemoteVideoStream(type);
        this.#streams.set(source, stream);
        added.push(stream);
      }
      if (track === undefined) stream?.update(undefined, undefined, undefined);
      else {
        const { slot, attachment } = locate(track, participant.csrc);
        stream?.update(track, slot, track.muted ? undefined : attachment);
      }
    }
    if (added.length > 0) this.emit('videoStreamsUpdated', { added, removed: [] });
    if (this.state !== before.state) this.emit('stateChanged', undefined);
    if (this.isMuted !== before.isMuted) this.emit('isMutedChanged', undefined);
    if (this.displayName !== before.displayName) this.emit('displayNameChanged', undefined);
    if (this.isMuted) this.setSpeaking(false);
  }

  /** @internal */
  remove(): void {
    this.#gone = true;
    for (const stream of this.#streams.values()) stream.update(undefined, undefined, undefined);
    this.setSpeaking(false);
    this.emit('stateChanged', undefined);
  }

  /** @internal */
  setSpeaking(speaking: boolean): void {
    const now = speaking && !this.isMuted && !this.#gone;
    if (this.#speaking === now) return;
    this.#speaking = now;
    this.emit('isSpeakingChanged', undefined);
  }
}
