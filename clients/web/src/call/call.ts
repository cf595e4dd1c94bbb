/**
 * A group call as an app sees it; names and states follow the ACS calling SDK.
 *
 * Owns: the public face of one call: state, participants, local media, events.
 * Never: speaks to the server or to a peer connection itself; `CallSession` does.
 */
import type { Backoff } from '../backoff.js';
import { CallData } from '../data/callData.js';
import { FrameEncryption } from '../encryption/frameEncryption.js';
import type { EncryptionKeyring } from '../encryption/keyring.js';
import type { Environment } from '../environment.js';
import { ConvokeError } from '../errors.js';
import { Emitter } from '../events.js';
import type {
  Capabilities,
  EndReason,
  Explanation,
  LobbyPolicy,
  MediaKind,
  RingTarget,
  Role,
} from '../generated/protocol.js';
import type { DeviceManager } from '../local/deviceManager.js';
import { LocalMedia, type LocalMediaEvents } from '../local/localMedia.js';
import type { LocalVideoStream } from '../local/localVideoStream.js';
import { type PublicationOp, Publications } from '../local/publications.js';
import type { VideoPublishOptions } from '../media/encodings.js';
import { SEND_SOURCES } from '../media/sendTransport.js';
import { type CallStats, type Counters, readStats, summarise } from '../media/stats.js';
import type { KeeperTimings } from '../media/transportKeeper.js';
import { AdaptiveView } from '../remote/adaptiveView.js';
import { AudioPlayback } from '../remote/audioPlayback.js';
import type { RemoteParticipant } from '../remote/remoteParticipant.js';
import { type ParticipantsUpdated, RemoteParticipants } from '../remote/remoteParticipants.js';
import { SELF, SpeakingMonitor } from '../remote/speaking.js';
import { ViewKeeper, type ViewWish } from '../remote/viewKeeper.js';
import type { AgentConnection } from '../signalling/agentConnection.js';
import { slotsOfKind } from '../signalling/slotTable.js';
import {
  type Lobby,
  Moderation,
  type RaisedHands,
  type Spotlight,
  type Who,
} from './moderation.js';
import { type CallConnectionState, CallSession, type Entry } from './session.js';

export type CallState =
  | 'None'
  | 'Connecting'
  /** Waits until someone in the call lets us in. */
  | 'InLobby'
  | 'Connected'
  | 'Disconnecting'
  | 'Disconnected';

/** As in ACS: `code` is SIP-like, `subCode` refines it. */
export type CallEndReason = EndReason;

export interface JoinCallOptions {
  readonly videoOptions?: {
    readonly localVideoStreams?: readonly LocalVideoStream[];
    /** How cameras are sent. */
    readonly camera?: VideoPublishOptions;
    /** How screens are sent. */
    readonly screen?: VideoPublishOptions;
  };
  readonly audioOptions?: { readonly muted?: boolean };
  /** Who shall wait in the lobby, if this join starts the call; the server's default when absent. */
  readonly lobby?: LobbyPolicy;
  /**
   * Encrypts all that is sent end to end, and shows only what these keys open. `join` throws
   * `notSupported` where the browser cannot, and for the codec H264.
   */
  readonly encryption?: { readonly keys: EncryptionKeyring };
}

export interface CallEvents extends LocalMediaEvents {
  idChanged: undefined;
  stateChanged: undefined;
  connectionStateChanged: undefined;
  /** A service moved us into another call: this object is of that from now on. */
  moved: { readonly fromCallId: string };
  /** A service wanted to move us into the call of this group, which failed: all is as before. */
  moveFailed: { readonly groupId: string; readonly error: ConvokeError };
  remoteParticipantsUpdated: ParticipantsUpdated;
  /** What we are in the call. */
  roleChanged: undefined;
  /** What we may do in the call. */
  capabilitiesChanged: undefined;
  /** How far the ringing that `startCall` began is. */
  ringingChanged: undefined;
  /** Someone muted us; `by` is its `participantId`, undefined for a service. */
  mutedByOthers: { readonly by: string | undefined };
  /** Whether our own microphone hears us speak. */
  isSpeakingChanged: undefined;
  /** Another participant, or nobody, has the floor. */
  dominantSpeakerChanged: undefined;
  /** The browser will not play sound until `resumeAudio` is called from a click or key press. */
  audioPlaybackBlocked: undefined;
  audioPlaybackResumed: undefined;
  /** Frames were dropped that our keys do not open; at most once a second for each slot. */
  decryptionFailed: {
    readonly participantId: string | undefined;
    readonly kind: MediaKind;
    readonly frames: number;
  };
}

/** @internal */
export interface CallDependencies {
  readonly connection: AgentConnection;
  readonly environment: Environment;
  readonly devices: DeviceManager;
  readonly backoff: Backoff;
  readonly keeper: KeeperTimings;
}

export class Call extends Emitter<CallEvents> {
  /** Messages between the apps of the call. */
  readonly data: CallData;
  readonly #moderation: Moderation;
  readonly #session: CallSession;
  readonly #publications: Publications;
  readonly #local: LocalMedia;
  readonly #remote = new RemoteParticipants();
  readonly #audio: AudioPlayback;
  readonly #speaking: SpeakingMonitor;
  readonly #view: ViewKeeper;
  readonly #adaptive: AdaptiveView;
  readonly #encryption: FrameEncryption | undefined;
  readonly #devices: DeviceManager;
  readonly #offNetwork: () => void;
  #state: CallState = 'None';
  #endReason: CallEndReason | undefined;
  #error: ConvokeError | undefined;
  #isSpeaking = false;
  #dominantSpeaker: string | undefined;
  #statsBefore: { nowMs: number; counters: Counters } | undefined;

  /** @internal */
  constructor(entry: Entry, options: JoinCallOptions, dependencies: CallDependencies) {
    super();
    const { connection, environment, devices, backoff, keeper } = dependencies;
    this.#devices = devices;
    this.#publications = new Publications((op) => this.#sendPublication(op));
    const { camera, screen } = options.videoOptions ?? {};
    this.#encryption = this.#startEncryption(options);
    const encryption = this.#encryption;
    const send = { camera, screen, encrypted: encryption !== undefined };
    this.#local = new LocalMedia(devices, this.#publications, send);
    this.#session = new CallSession({
      entry,
      connection,
      environment,
      publications: this.#publications,
      send,
      encryption,
      attachLocal: (transport) => this.#local.attach(transport),
      backoff,
      keeper,
    });
    this.#audio = new AudioPlayback((blocked) =>
      this.emit(blocked ? 'audioPlaybackBlocked' : 'audioPlaybackResumed', undefined),
    );
    this.#speaking = new SpeakingMonitor(
      {
        audioSlots: () => slotsOfKind(this.#session.slots, 'audio').filter((slot) => slot.trackId),
        receiver: (mid) => this.#session.receiver(mid),
        participantOfCsrc: (csrc) => this.#participantOfCsrc(csrc),
        ownLevel: () => this.#ownLevel(),
      },
      (id, speaking) => this.#onSpeaking(id, speaking),
    );
    this.#view = new ViewKeeper({
      slots: () => this.#session.slots,
      send: async (slots) => {
        const callId = this.#session.callId;
        await this.#session.request({
          type: 'view',
          callId,
          ...(slots === undefined ? {} : { slots }),
        });
      },
    });
    this.#moderation = new Moderation({
      callId: () => this.#session.callId,
      request: (message) => this.#session.request(message),
    });
    this.data = new CallData({
      callId: () => this.#session.callId,
      pipe: (reliability) => this.#session.transports?.pipes[reliability],
      request: (message) => this.#session.request(message),
      csrcOf: (id) => this.#session.roster.participants.get(id)?.csrc,
      participantOf: (csrc) => this.#participantOfCsrc(csrc),
    });
    this.#adaptive = new AdaptiveView(this.#view, () =>
      this.#remote.all.flatMap((participant) => participant.videoStreams),
    );
    this.#forwardLocalEvents();
    this.#listenToSession();
    devices.on('selectedSpeakerChanged', this.#onSpeakerSelected);
    this.#offNetwork = environment.onNetworkChange(() => this.#session.restartMedia());
    this.#onSpeakerSelected();
    queueMicrotask(() => this.#start(options));
  }

  /** The server's id of the call; empty until connected. */
  get id(): string {
    return this.#session.callId;
  }

  /** The group call ID; in canonical form once connected, and empty in a scheduled room. */
  get groupId(): string {
    return this.#session.groupId;
  }

  /** Our own id among the participants; empty until connected. */
  get participantId(): string {
    return this.#session.participantId;
  }

  get state(): CallState {
    return this.#state;
  }

  /** Finer than `state`: says also whether media and signalling are up at this moment. */
  get connectionState(): CallConnectionState {
    return this.#session.connectionState;
  }

  /** Set once the state is `Disconnected`. */
  get callEndReason(): CallEndReason | undefined {
    return this.#endReason;
  }

  /** The error that ended the call, where one did. */
  get error(): ConvokeError | undefined {
    return this.#error;
  }

  /** What we are in the call; undefined for no role in particular. */
  get role(): Role | undefined {
    return this.#moderation.role;
  }

  /** What we may do, as the server says; undefined before it has. */
  get capabilities(): Capabilities | undefined {
    return this.#moderation.capabilities;
  }

  /** Those who wait before coming in. */
  get lobby(): Lobby {
    return this.#moderation.lobby;
  }

  /** Whom everybody should see large. */
  get spotlight(): Spotlight {
    return this.#moderation.spotlight;
  }

  /** Who asks to speak. */
  get raisedHands(): RaisedHands {
    return this.#moderation.raisedHands;
  }

  /** How far the ringing that `startCall` began is, for each identity. */
  get ringing(): readonly RingTarget[] {
    return this.#moderation.ringing;
  }

  get remoteParticipants(): readonly RemoteParticipant[] {
    return this.#remote.all;
  }

  get localVideoStreams(): readonly LocalVideoStream[] {
    return this.#local.videoStreams;
  }

  /** True also while there is no microphone. */
  get isMuted(): boolean {
    return this.#local.isMuted;
  }

  get isScreenSharingOn(): boolean {
    return this.#local.isScreenSharingOn;
  }

  get isSpeaking(): boolean {
    return this.#isSpeaking;
  }

  /**
   * The `participantId` of whoever has the floor, as the server judges (coughs and noise do not
   * take it); our own, if it is us. Undefined when nobody has.
   */
  get dominantSpeaker(): string | undefined {
    return this.#dominantSpeaker;
  }

  /** Whether all that we send is encrypted end to end. */
  get isEncrypted(): boolean {
    return this.#encryption !== undefined;
  }

  get isAudioPlaybackBlocked(): boolean {
    return this.#audio.blocked;
  }

  mute(): Promise<void> {
    return this.#local.mute();
  }

  /** Opens the microphone if it is not open yet; rejects with `microphoneDenied` and the like. */
  unmute(): Promise<void> {
    return this.#local.unmute();
  }

  startVideo(stream: LocalVideoStream): Promise<void> {
    return this.#local.startVideo(stream);
  }

  stopVideo(stream: LocalVideoStream): Promise<void> {
    return this.#local.stopVideo(stream);
  }

  /** Must be called from a click or key press. */
  startScreenSharing(): Promise<void> {
    return this.#local.startScreenSharing();
  }

  stopScreenSharing(): Promise<void> {
    return this.#local.stopScreenSharing();
  }

  /**
   * Says what should be shown first, or by a policy. Streams in views need no wish: each is asked
   * for in the size in which it is on the page, unless a wish follows a policy. Null ends it.
   */
  setView(wishes: readonly ViewWish[] | null): Promise<void> {
    return this.#adaptive.set(wishes);
  }

  /** What the server sends us and takes from us, and why; rejects while not connected. */
  async explain(): Promise<Explanation> {
    const reply = await this.#session.request({ type: 'explain', callId: this.#session.callId });
    if (reply.type !== 'explained') throw new ConvokeError('internal', 'No explanation came.');
    return reply.explanation;
  }

  /** Plays the call's sound after `audioPlaybackBlocked`; from a click or key press. */
  resumeAudio(): Promise<void> {
    return this.#audio.resume();
  }

  /** Mutes the microphones of these; they hear by whom, and may unmute. */
  muteParticipants(...who: readonly Who[]): Promise<void> {
    return this.#moderation.mute(who);
  }

  muteAllRemoteParticipants(): Promise<void> {
    return this.#moderation.mute(undefined);
  }

  /** Removes an identity on all its devices; it cannot come back while the call runs. */
  removeParticipant(who: Who): Promise<void> {
    return this.#moderation.remove(who);
  }

  /** Gives another's identity a role, at once and while the call runs. */
  setRole(who: Who, role: Role): Promise<void> {
    return this.#moderation.setRole(who, role);
  }

  /** Leaves the call, or ends it for everyone: that rejects where it is not allowed. */
  async hangUp(options: { readonly forEveryone?: boolean } = {}): Promise<void> {
    if (this.#state === 'Disconnecting' || this.#state === 'Disconnected') return;
    if (options.forEveryone) {
      await this.#session.request({
        type: 'leave',
        callId: this.#session.callId,
        forEveryone: true,
      });
      return;
    }
    this.#setState('Disconnecting');
    await this.#session.leave();
  }

  /** A digest per slot and per local track; rates are since the call before. */
  async getStats(): Promise<CallStats> {
    const transports = this.#session.transports;
    if (transports === undefined) throw new ConvokeError('notConnected', 'No media runs now.');
    const [send, receive] = await Promise.all([
      readStats(transports.send.pc),
      readStats(transports.receive.pc),
    ]);
    const nowMs = Date.now();
    const local = SEND_SOURCES.filter((source) => this.#local.track(source) !== undefined);
    const { stats, counters } = summarise({
      nowMs,
      send,
      receive,
      slots: [...this.#session.slots.byMid.values()],
      local: local.map((source) => ({
        source,
        mid: transports.send.mid(source),
        clientId: this.#publications.get(source)?.clientId,
        demand: this.#local.demandOf(source),
      })),
      before: this.#statsBefore,
    });
    this.#statsBefore = { nowMs, counters };
    return stats;
  }

  /** The peer connections, for diagnosis and tests. Changing them breaks the call. */
  get peerConnections(): { send: RTCPeerConnection; receive: RTCPeerConnection } | undefined {
    const transports = this.#session.transports;
    return transports && { send: transports.send.pc, receive: transports.receive.pc };
  }

  #start(options: JoinCallOptions): void {
    if (this.#state !== 'None') return;
    this.#setState('Connecting');
    // Neither device holds up the join: what is open in time is part of it, the rest follows.
    if (options.audioOptions?.muted !== true) void this.#local.startMicrophone();
    for (const stream of options.videoOptions?.localVideoStreams ?? []) {
      void this.#local.startVideo(stream).catch(() => undefined);
    }
    this.#session.start();
  }

  #startEncryption({ encryption, videoOptions }: JoinCallOptions): FrameEncryption | undefined {
    if (encryption === undefined) return undefined;
    if ([videoOptions?.camera, videoOptions?.screen].some((video) => video?.codec === 'H264')) {
      throw new ConvokeError(
        'notSupported',
        'H264 cannot be encrypted end to end; use VP8 or VP9.',
      );
    }
    const started = new FrameEncryption(encryption.keys);
    started.on('failed', ({ receiver, frames }) => {
      const mid = this.#session.transports?.receive.mid(receiver);
      const { participantId } = this.#session.slots.byMid.get(mid ?? '') ?? {};
      const kind = receiver.track.kind === 'audio' ? 'audio' : 'video';
      this.emit('decryptionFailed', { participantId, kind, frames });
    });
    return started;
  }

  #forwardLocalEvents(): void {
    const local = this.#local;
    local.on('isMutedChanged', () => this.emit('isMutedChanged', undefined));
    local.on('isScreenSharingOnChanged', () => this.emit('isScreenSharingOnChanged', undefined));
    local.on('localVideoStreamsUpdated', (event) => this.emit('localVideoStreamsUpdated', event));
    local.on('microphoneFailed', (error) => this.emit('microphoneFailed', error));
  }

  #listenToSession(): void {
    const session = this.#session;
    session.on('joined', ({ fresh }) => {
      if (this.#state === 'Connecting' || this.#state === 'InLobby') {
        this.emit('idChanged', undefined);
        this.#setState('Connected');
        this.#speaking.start();
      }
      this.#setDominantSpeaker(undefined);
      if (fresh) {
        this.#statsBefore = undefined;
        this.#view.reset();
      }
      void this.#publications.sync();
    });
    session.on('moved', (event) => {
      this.emit('idChanged', undefined);
      this.emit('moved', event);
    });
    session.on('moveFailed', (event) => this.emit('moveFailed', event));
    session.on('inLobby', () => {
      this.emit('idChanged', undefined);
      if (this.#state === 'Connecting') this.#setState('InLobby');
    });
    // What is empty is not told; what is comes right behind.
    session.on('adopted', () => this.#moderation.reset());
    session.on('moderation', (message) => this.#moderation.handle(message));
    this.#listenToModeration();
    session.on('changed', () => this.#update());
    session.on('speakers', ({ dominant }) => this.#setDominantSpeaker(dominant));
    session.on('demand', ({ clientId, encodings }) => this.#local.setDemand(clientId, encodings));
    session.on('data', (message) => this.data.handleMessage(message));
    session.on('dataClosed', (message) => this.data.handleClosed(message));
    session.on('dataFrame', ({ reliability, frame }) => this.data.handleFrame(reliability, frame));
    session.on('connectionStateChanged', () => this.emit('connectionStateChanged', undefined));
    session.on('ended', ({ reason, error }) => this.#onEnded(reason, error));
  }

  #listenToModeration(): void {
    const moderation = this.#moderation;
    moderation.on('roleChanged', () => this.emit('roleChanged', undefined));
    moderation.on('ringingChanged', () => this.emit('ringingChanged', undefined));
    moderation.on('mutedByOthers', (event) => {
      void this.#local.mute();
      this.emit('mutedByOthers', event);
    });
    moderation.on('capabilitiesChanged', () => {
      const { turnVideoOn, unmuteMic, shareScreen } = moderation.capabilities ?? {};
      void this.#local.restrict({
        camera: turnVideoOn?.isPresent ?? true,
        microphone: unmuteMic?.isPresent ?? true,
        screen: shareScreen?.isPresent ?? true,
      });
      this.emit('capabilitiesChanged', undefined);
    });
  }

  #setDominantSpeaker(participantId: string | undefined): void {
    if (participantId === this.#dominantSpeaker) return;
    this.#dominantSpeaker = participantId;
    this.emit('dominantSpeakerChanged', undefined);
  }

  #update(): void {
    const session = this.#session;
    const receiver = (mid: string) => session.receiver(mid);
    const { roster, slots, participantId } = session;
    this.#audio.update(slotsOfKind(slots, 'audio'), receiver);
    const updated = this.#remote.update(roster, participantId, slots, receiver);
    if (updated.added.length + updated.removed.length > 0) {
      this.emit('remoteParticipantsUpdated', updated);
    }
    this.#adaptive.update();
  }

  #onEnded(reason: EndReason, error: ConvokeError | undefined): void {
    this.#endReason = reason;
    this.#error = error;
    this.#speaking.stop();
    this.#offNetwork();
    this.#devices.off('selectedSpeakerChanged', this.#onSpeakerSelected);
    this.#local.close();
    this.#audio.close();
    this.#adaptive.close();
    this.data.close();
    this.#encryption?.close();
    this.#setState('Disconnected');
  }

  async #sendPublication(op: PublicationOp): Promise<void> {
    const session = this.#session;
    const callId = session.callId;
    if (op.type === 'publish') {
      const mid = session.transports?.send.mid(op.wanted.source) ?? '';
      await session.request({ type: 'publish', callId, track: { ...op.wanted, mid } });
    } else {
      await session.request({ ...op, callId });
    }
  }

  #participantOfCsrc(csrc: number): string | undefined {
    for (const participant of this.#session.roster.participants.values()) {
      if (participant.csrc === csrc) return participant.participantId;
    }
    return undefined;
  }

  /** The level of the microphone that is sent, from the browser's own meter. */
  async #ownLevel(): Promise<number | undefined> {
    const sender = this.#session.transports?.send.sender('microphone');
    if (this.isMuted || sender === undefined) return undefined;
    let level: number | undefined;
    (await sender.getStats()).forEach((row: { type: string; audioLevel?: number }) => {
      if (row.type === 'media-source') level = row.audioLevel;
    });
    return level;
  }

  #onSpeaking(id: string, speaking: boolean): void {
    if (id !== SELF) {
      this.#remote.get(id)?.setSpeaking(speaking);
      return;
    }
    if (this.#isSpeaking === speaking) return;
    this.#isSpeaking = speaking;
    this.emit('isSpeakingChanged', undefined);
  }

  readonly #onSpeakerSelected = (): void => {
    const speaker = this.#devices.selectedSpeaker;
    if (speaker !== undefined) this.#audio.setSpeaker(speaker.id);
  };

  #setState(state: CallState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.emit('stateChanged', undefined);
  }
}
