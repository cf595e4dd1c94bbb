/**
 * One participant's presence in a call: joined, resumed, joined afresh, ended.
 *
 * Owns: the two transports, the roster and slot table, the resume token, and every way in or out.
 * Never: opens devices or makes objects for apps; `Call` and `LocalMedia` do.
 */
import { type Backoff, delayMs } from '../backoff.js';
import { type DataPipes, openPipes } from '../data/dataPipe.js';
import type { FrameEncryption } from '../encryption/frameEncryption.js';
import type { Environment } from '../environment.js';
import { ConvokeError, type ConvokeErrorCode, endReasonOf } from '../errors.js';
import { Emitter } from '../events.js';
import type {
  Data,
  DataClosed,
  EncodingDemand,
  EndReason,
  InLobby,
  Joined,
  LobbyPolicy,
  Reliability,
  Resumed,
  ServerMessage,
  Slot,
  Snapshot,
  Track,
  TransportRole,
  Welcome,
} from '../generated/protocol.js';
import type { Publications } from '../local/publications.js';
import { DEFAULT_WATCH, PathWatch } from '../media/pathWatch.js';
import { ReceiveTransport } from '../media/receiveTransport.js';
import { type SendOptions, SendTransport } from '../media/sendTransport.js';
import { type KeeperTimings, TransportKeeper } from '../media/transportKeeper.js';
import type { AgentConnection } from '../signalling/agentConnection.js';
import type { ClientRequest } from '../signalling/agentSocket.js';
import { applyChange, EMPTY_ROSTER, type Roster, rosterFrom } from '../signalling/roster.js';
import { applySlots, NO_SLOTS, type SlotTable, slotTableFrom } from '../signalling/slotTable.js';
import type { GroupLocator, Locator } from './locator.js';

export type CallConnectionState = 'Connecting' | 'Connected' | 'Reconnecting' | 'Disconnected';

/** How to come into the call for the first time; later by its group ID. */
export type Entry =
  | ({ readonly type: 'join'; readonly lobby?: LobbyPolicy } & Locator)
  | {
      readonly type: 'startCall';
      readonly targets: string[];
      readonly customContext?: string;
      readonly timeoutMs?: number;
    }
  | { readonly type: 'acceptCall'; readonly incomingCallId: string };

interface SessionEvents {
  /** In the call; `fresh` when as a new participant, false after a resume. */
  joined: { readonly fresh: boolean };
  /** The server's whole picture was taken; later messages go on from there. */
  adopted: undefined;
  /** Roster or slots changed. */
  changed: undefined;
  /** Waits in the lobby; `joined` or `ended` follows. */
  inLobby: undefined;
  /** In another call than before, whose id that was; `joined` follows. */
  moved: { readonly fromCallId: string };
  /** Could not go into the call of this group, and is where it was. */
  moveFailed: { readonly groupId: string; readonly error: ConvokeError };
  /** About roles, moderation, the lobby or ringing. */
  moderation: ServerMessage;
  connectionStateChanged: undefined;
  /** The server says who has the floor. */
  speakers: { readonly dominant: string | undefined };
  /** What anybody wants of a track of ours. */
  demand: { readonly clientId: string; readonly encodings: readonly EncodingDemand[] };
  data: Data;
  dataClosed: DataClosed;
  /** What came on a data channel. */
  dataFrame: { readonly reliability: Reliability; readonly frame: ArrayBuffer };
  ended: { readonly reason: EndReason; readonly error: ConvokeError | undefined };
}

export interface SessionOptions {
  readonly entry: Entry;
  readonly connection: AgentConnection;
  readonly environment: Environment;
  readonly publications: Publications;
  readonly send: SendOptions;
  readonly encryption: FrameEncryption | undefined;
  /** Puts the local tracks onto a new transport. */
  readonly attachLocal: (transport: SendTransport) => Promise<void>;
  readonly backoff: Backoff;
  readonly keeper: KeeperTimings;
}

/** The connection was lost under a request; its return starts over. */
const LOST = new Set<ConvokeErrorCode>(['notConnected', 'connectionLost', 'takenOver']);
/** Worth another attempt after a while. */
const TRY_AGAIN = new Set<ConvokeErrorCode>([
  'busy',
  'draining',
  'internal',
  'requestTimeout',
  // After a restart of the server, whoever may start the call may come back later than we.
  'callNotFound',
]);
/** The sub-code of "the server lost the call; join again". */
const SERVER_FAILED = 70002;
/** A server that loses the call this often in a row will not keep it. */
const MAX_REJOINS = 5;

interface Transports {
  readonly send: SendTransport;
  readonly receive: ReceiveTransport;
  readonly keepers: readonly TransportKeeper[];
  readonly pipes: DataPipes;
  readonly watch: PathWatch;
  /** What both peer connections were made with; `iceServers` are renewed. */
  readonly configuration: RTCConfiguration;
}

export class CallSession extends Emitter<SessionEvents> {
  readonly #options: SessionOptions;
  #phase: 'joining' | 'lobby' | 'joined' | 'ended' = 'joining';
  #admitted: ((joined: ServerMessage) => void) | undefined;
  #everJoined = false;
  #transports: Transports | undefined;
  #mediaWasUp = false;
  #callId = '';
  #groupId: string;
  #participantId = '';
  #resumeToken = '';
  #resuming = false;
  /** `resume` is on its way: what is sent now comes behind it. */
  #resumeSent = false;
  #rejoins = 0;
  #roster: Roster = EMPTY_ROSTER;
  #slots: SlotTable = NO_SLOTS;
  #state: CallConnectionState = 'Connecting';
  #joining = 0;
  /** Where to join anew: after a move that is another call. */
  #locator: GroupLocator | undefined;
  #moving = false;

  constructor(options: SessionOptions) {
    super();
    this.#options = options;
    const { entry } = options;
    this.#groupId = 'groupId' in entry ? entry.groupId : '';
    const { connection } = options;
    connection.on('message', this.#onMessage);
    connection.on('lost', this.#onLost);
    connection.on('reconnected', this.#onReconnected);
    connection.on('failed', this.#onFailed);
    connection.on('welcomed', this.#onWelcomed);
  }

  get callId(): string {
    return this.#callId;
  }

  get groupId(): string {
    return this.#groupId;
  }

  get participantId(): string {
    return this.#participantId;
  }

  get roster(): Roster {
    return this.#roster;
  }

  get slots(): SlotTable {
    return this.#slots;
  }

  get connectionState(): CallConnectionState {
    return this.#state;
  }

  get transports(): Pick<Transports, 'send' | 'receive' | 'pipes'> | undefined {
    return this.#transports;
  }

  receiver(mid: string): RTCRtpReceiver | undefined {
    return this.#transports?.receive.receiver(mid);
  }

  /** Joins; the outcome is an event. */
  start(): void {
    void this.#join();
  }

  /** Sends a request about this call. */
  async request(message: ClientRequest): Promise<ServerMessage> {
    if (this.#phase === 'ended') throw new ConvokeError('callEnded', 'The call has ended.');
    if (this.#phase !== 'joined' || this.#resuming) {
      throw new ConvokeError('notConnected', 'The call is not connected now.');
    }
    try {
      return await this.#options.connection.request(message);
    } catch (cause) {
      const error = ConvokeError.from(cause);
      // The server has forgotten us without a word.
      if (error.code === 'notInCall' && this.#phase === 'joined') void this.#rejoin();
      throw error;
    }
  }

  /** Says good-bye if it can, and ends. */
  async leave(): Promise<void> {
    if (this.#phase === 'lobby') this.#leaveQuietly(this.#callId);
    if (this.#phase === 'joined') {
      // A move that is under way comes too late.
      this.#joining += 1;
      const answered = this.request({ type: 'leave', callId: this.#callId }).catch(() => undefined);
      // The media stops at once; the server's answer changes nothing any more.
      this.#closeTransports();
      await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, 2_000))]);
    }
    this.#end({ code: 0, subCode: 0, message: 'You left the call.' }, undefined);
  }

  /** The network changed: old paths are probably dead, whatever their state says. */
  restartMedia(): void {
    for (const keeper of this.#transports?.keepers ?? []) keeper.restart();
  }

  async #join(): Promise<void> {
    this.#joining += 1;
    const turn = this.#joining;
    const current = () => turn === this.#joining && this.#phase !== 'ended';
    this.#phase = 'joining';
    this.#resumeToken = '';
    this.#updateState();
    try {
      const transports = this.#createTransports();
      const { send, receive } = transports;
      const [sendOffer, receiveOffer] = await Promise.all([
        offerOf(send.pc),
        offerOf(receive.pc),
        this.#options.attachLocal(send),
      ]);
      if (!current()) return;
      const first = await this.#options.connection.request(
        {
          ...this.#entry(),
          send: { sdp: sendOffer },
          receive: { sdp: receiveOffer },
          tracks: this.#options.publications.declarations((source) => send.mid(source)),
        },
        (message) => {
          // An answer that comes after we hung up: undo what the server has just done.
          if (message.type !== 'joined' && message.type !== 'inLobby') return;
          if (!current()) this.#leaveQuietly(message.callId);
          else if (message.type === 'joined') this.#adopt(message);
          else this.#wait(message);
        },
      );
      const reply = first.type === 'inLobby' ? await this.#untilAdmitted() : first;
      if (reply.type !== 'joined' || !current()) return;
      await this.#answered(transports, reply);
    } catch (cause) {
      if (current()) await this.#joinFailed(ConvokeError.from(cause));
    }
  }

  /**
   * Goes into another call, as the server says, with the same tracks. The present one goes on until
   * the other is joined; when it cannot be, it goes on as before.
   */
  async #move(locator: GroupLocator): Promise<void> {
    const before = this.#transports;
    if (before === undefined) return;
    this.#moving = true;
    const turn = this.#joining;
    const current = () => turn === this.#joining && this.#phase === 'joined';
    const fresh = this.#openTransports();
    const { send, receive } = fresh;
    try {
      const [sendOffer, receiveOffer] = await Promise.all([
        offerOf(send.pc),
        offerOf(receive.pc),
        this.#options.attachLocal(send),
      ]);
      const reply = await this.#options.connection.request(
        {
          type: 'join',
          ...locator,
          send: { sdp: sendOffer },
          receive: { sdp: receiveOffer },
          tracks: this.#options.publications.declarations((source) => send.mid(source)),
        },
        (message) => {
          if (message.type !== 'joined') return;
          if (current()) this.#arrive(message, locator, before, fresh);
          else this.#leaveQuietly(message.callId);
        },
      );
      if (reply.type !== 'joined' || this.#transports !== fresh) return;
      await this.#answered(fresh, reply);
    } catch (cause) {
      const error = ConvokeError.from(cause);
      if (this.#transports === fresh) await this.#joinFailed(error);
      // After a lost connection the server says again where to go.
      else if (current() && !LOST.has(error.code))
        this.emit('moveFailed', { groupId: locator.groupId, error });
    } finally {
      this.#moving = false;
      if (this.#transports !== fresh) {
        this.#close(fresh);
        if (this.#transports === before) await this.#options.attachLocal(before.send);
      }
    }
  }

  /** In the other call: takes its picture and transports in place of the old ones. */
  #arrive(joined: Joined, locator: GroupLocator, before: Transports, fresh: Transports): void {
    const fromCallId = this.#callId;
    this.#locator = locator;
    this.#transports = fresh;
    this.#mediaWasUp = false;
    this.#close(before);
    this.#adopt(joined);
    this.emit('moved', { fromCallId });
  }

  /** The answers of a join are used. */
  async #answered(transports: Transports, reply: Joined): Promise<void> {
    const { send, receive, keepers } = transports;
    await Promise.all([
      answer(send.pc, reply.send && { sdp: send.adapted(reply.send.sdp) }),
      answer(receive.pc, reply.receive),
    ]);
    if (this.#transports !== transports || this.#phase === 'ended') return;
    void send.negotiated();
    this.#options.encryption?.negotiated(send.pc);
    this.#everJoined = true;
    this.emit('joined', { fresh: true });
    this.emit('changed', undefined);
    for (const keeper of keepers) if (keeper.pc.connectionState === 'failed') keeper.restart();
  }

  /** The first part of a join: where to. */
  #entry(): Entry {
    const { entry } = this.#options;
    if (this.#locator !== undefined) return { type: 'join', ...this.#locator };
    if (!this.#everJoined || 'roomId' in entry) return entry;
    return { type: 'join', groupId: this.#groupId };
  }

  #wait({ callId, groupId, participantId }: InLobby): void {
    this.#phase = 'lobby';
    this.#callId = callId;
    this.#groupId = groupId ?? '';
    this.#participantId = participantId;
    this.emit('inLobby', undefined);
  }

  /** The answers to our offers; never, where we are not let in. */
  #untilAdmitted(): Promise<ServerMessage> {
    return new Promise((resolve) => {
      this.#admitted = resolve;
    });
  }

  #onLobbyMessage(message: ServerMessage): void {
    if (message.type === 'joined') {
      this.#adopt(message);
      this.#admitted?.(message);
    } else if (message.type === 'ended') {
      const { code, subCode } = message;
      this.#end({ code, subCode, message: message.message }, undefined);
    }
  }

  async #joinFailed(error: ConvokeError): Promise<void> {
    this.#closeTransports();
    if (LOST.has(error.code)) return;
    // Someone who was in the call and lost it by the server's fault is worth some patience.
    const again = this.#everJoined && TRY_AGAIN.has(error.code) && this.#rejoins < MAX_REJOINS;
    if (!again) {
      this.#end(endReasonOf(error), error);
      return;
    }
    await this.#rejoin(error.retryAfterMs);
  }

  async #rejoin(retryAfterMs?: number): Promise<void> {
    const { backoff, environment, connection } = this.#options;
    this.#phase = 'joining';
    this.#resuming = false;
    this.#resumeToken = '';
    this.#updateState();
    const turn = this.#joining;
    const delay = delayMs(this.#rejoins, backoff, environment.random());
    this.#rejoins += 1;
    await new Promise((resolve) => setTimeout(resolve, Math.max(delay, retryAfterMs ?? 0)));
    if (this.#phase !== 'joining' || turn !== this.#joining) return;
    // Without a connection, its return joins.
    if (connection.state === 'Connected') await this.#join();
  }

  async #resume(): Promise<void> {
    const { connection } = this.#options;
    this.#resuming = true;
    this.#updateState();
    const keepers = () => this.#transports?.keepers ?? [];
    try {
      const resumed = connection.request(
        { type: 'resume', resumeToken: this.#resumeToken },
        (message) => {
          if (message.type === 'resumed' && this.#phase !== 'ended') this.#adopt(message);
        },
      );
      // The server takes messages in order: offers that wait go right behind.
      this.#resumeSent = true;
      for (const keeper of keepers()) keeper.signallingRestored();
      await resumed;
    } catch (cause) {
      this.#resumeSent = false;
      await this.#resumeFailed(ConvokeError.from(cause));
      return;
    }
    this.#resumeSent = false;
    if (this.#phase !== 'joined') return;
    this.emit('joined', { fresh: false });
    this.emit('changed', undefined);
    // What broke meanwhile.
    for (const keeper of keepers()) keeper.signallingRestored();
  }

  async #resumeFailed(error: ConvokeError): Promise<void> {
    if (this.#phase !== 'joined' || LOST.has(error.code)) return;
    if (!TRY_AGAIN.has(error.code)) {
      await this.#rejoin(error.retryAfterMs);
      return;
    }
    // The grace time ends this: then the token is refused for good.
    const { backoff, environment, connection } = this.#options;
    const delay = environment.random() * backoff.maxMs;
    await new Promise((resolve) => setTimeout(resolve, Math.max(delay, error.retryAfterMs ?? 0)));
    const waiting = this.#phase === 'joined' && this.#resuming;
    if (waiting && connection.state === 'Connected') await this.#resume();
  }

  /** Takes a whole picture in place of the old one; runs before any later message is handled. */
  #adopt(message: Joined | Resumed): void {
    this.#phase = 'joined';
    this.#resuming = false;
    this.#callId = message.callId;
    this.#groupId = message.groupId ?? '';
    this.#participantId = message.participantId;
    this.#resumeToken = message.resumeToken;
    this.#replace(message);
    this.emit('adopted', undefined);
    this.#updateState();
  }

  #replace(snapshot: Pick<Snapshot, 'version' | 'participants' | 'slots'>): void {
    this.#roster = rosterFrom(snapshot);
    this.#slots = slotTableFrom(snapshot);
    const muted = this.#options.publications.confirm(this.#ownTracks());
    if (muted.includes('microphone')) {
      this.emit('moderation', { type: 'mutedByOthers', callId: this.#callId });
    }
  }

  #ownTracks(): readonly Track[] {
    return this.#roster.participants.get(this.#participantId)?.tracks ?? [];
  }

  #createTransports(): Transports {
    this.#closeTransports();
    this.#mediaWasUp = false;
    this.#transports = this.#openTransports();
    return this.#transports;
  }

  #openTransports(): Transports {
    const { connection, environment, encryption } = this.#options;
    const welcome = connection.welcome;
    if (welcome === undefined) throw new ConvokeError('notConnected', 'There is no connection.');
    const configuration: RTCConfiguration = {
      bundlePolicy: 'max-bundle',
      iceServers: welcome.iceServers,
      ...encryption?.configuration,
    };
    const create = () => environment.createPeerConnection(configuration);
    const { audioSlots, videoSlots } = welcome.limits;
    const send = new SendTransport(create(), this.#options.send);
    const receive = new ReceiveTransport(create(), audioSlots, videoSlots);
    for (const { pc } of [send, receive]) encryption?.attach(pc);
    const keep = (role: TransportRole, pc: RTCPeerConnection) =>
      new TransportKeeper(role, pc, this.#keeperLink, this.#options.keeper);
    return {
      send,
      receive,
      pipes: openPipes(send.pc, (reliability, frame) => {
        if (this.#phase === 'joined') this.emit('dataFrame', { reliability, frame });
      }),
      keepers: [keep('send', send.pc), keep('receive', receive.pc)],
      watch: new PathWatch(
        {
          connections: [send.pc, receive.pc],
          receivers: () => receive.pc.getReceivers(),
          onSuspicion: () => connection.check(),
          answered: () => connection.answered,
          onSilent: () => {
            // The offers are made while the socket is opened.
            if (!connection.answered) connection.replace();
            this.restartMedia();
          },
        },
        DEFAULT_WATCH,
      ),
      configuration,
    };
  }

  readonly #keeperLink = {
    ready: (): boolean =>
      this.#phase === 'joined' &&
      (!this.#resuming || this.#resumeSent) &&
      this.#options.connection.state === 'Connected',
    exchange: async (transport: TransportRole, sdp: string): Promise<string> => {
      const offer = { type: 'offer', callId: this.#callId, transport, sdp } as const;
      // Where the resume is refused, that decides what becomes of us.
      const reply = await (this.#resumeSent
        ? this.#options.connection.request(offer)
        : this.request(offer));
      if (reply.type !== 'answer') throw new ConvokeError('internal', 'No answer came.');
      if (reply.slots.length > 0) this.#setSlots(reply.slots);
      const { send } = this.#transports ?? {};
      return transport === 'send' && send !== undefined ? send.adapted(reply.sdp) : reply.sdp;
    },
    onStateChange: (): void => this.#updateState(),
    onNegotiated: (role: TransportRole): void => {
      if (role === 'send') void this.#transports?.send.negotiated();
    },
  };

  #setSlots(slots: readonly Slot[]): void {
    this.#slots = slotTableFrom({ version: this.#slots.snapshotVersion, slots });
    this.emit('changed', undefined);
  }

  readonly #onMessage = (message: ServerMessage): void => {
    if (!('callId' in message) || message.callId !== this.#callId) return;
    // The answer to a request is taken where that is made.
    if (this.#phase === 'lobby') {
      this.#onLobbyMessage(message);
      return;
    }
    if (this.#phase !== 'joined') return;
    switch (message.type) {
      case 'participantJoined':
      case 'participantLeft':
      case 'participantUpdated':
      case 'trackPublished':
      case 'trackUnpublished':
      case 'trackUpdated': {
        const roster = applyChange(this.#roster, message);
        if (roster === this.#roster) return;
        this.#roster = roster;
        this.emit('changed', undefined);
        return;
      }
      case 'slots': {
        const slots = applySlots(this.#slots, message);
        if (slots === this.#slots) return;
        this.#slots = slots;
        this.emit('changed', undefined);
        return;
      }
      case 'speakers':
        if (message.version <= this.#roster.snapshotVersion) return;
        this.emit('speakers', { dominant: message.dominant });
        return;
      case 'data':
        this.emit('data', message);
        return;
      case 'dataClosed':
        this.emit('dataClosed', message);
        return;
      case 'roleChanged':
      case 'capabilitiesChanged':
      case 'spotlightChanged':
      case 'raisedHandsChanged':
      case 'lobbyParticipantsUpdated':
      case 'mutedByOthers':
      case 'ringUpdated':
        this.emit('moderation', message);
        return;
      case 'moved':
        if (!this.#moving) void this.#move({ groupId: message.groupId });
        return;
      case 'demand':
        this.emit('demand', { clientId: message.clientId, encodings: message.encodings });
        return;
      case 'snapshot':
        if (message.version <= this.#roster.snapshotVersion) return;
        this.#replace(message);
        this.emit('changed', undefined);
        void this.#options.publications.sync();
        return;
      case 'ended':
        this.#onEnded({ code: message.code, subCode: message.subCode, message: message.message });
        return;
      default:
        return;
    }
  };

  #onEnded(reason: EndReason): void {
    if (reason.subCode === SERVER_FAILED && this.#rejoins < MAX_REJOINS) {
      this.#closeTransports();
      void this.#rejoin();
      return;
    }
    this.#end(reason, undefined);
  }

  readonly #onLost = (): void => {
    this.#resuming = this.#phase === 'joined';
    this.#updateState();
  };

  readonly #onReconnected = (): void => {
    if (this.#phase === 'ended') return;
    if (this.#phase === 'joined') void this.#resume();
    else void this.#join();
  };

  /** Credentials of TURN servers expire: an ICE restart asks the servers of the newest welcome. */
  readonly #onWelcomed = ({ iceServers }: Welcome): void => {
    const { send, receive, configuration } = this.#transports ?? {};
    if (send === undefined || receive === undefined || configuration === undefined) return;
    if (JSON.stringify(configuration.iceServers) === JSON.stringify(iceServers)) return;
    configuration.iceServers = iceServers;
    for (const { pc } of [send, receive]) pc.setConfiguration(configuration);
  };

  readonly #onFailed = (error: ConvokeError): void => {
    this.#end(endReasonOf(error), error);
  };

  #leaveQuietly(callId: string): void {
    this.#options.connection.request({ type: 'leave', callId }).catch(() => undefined);
  }

  #end(reason: EndReason, error: ConvokeError | undefined): void {
    if (this.#phase === 'ended') return;
    this.#phase = 'ended';
    const { connection } = this.#options;
    connection.off('message', this.#onMessage);
    connection.off('lost', this.#onLost);
    connection.off('reconnected', this.#onReconnected);
    connection.off('failed', this.#onFailed);
    connection.off('welcomed', this.#onWelcomed);
    this.#closeTransports();
    this.#updateState();
    this.emit('ended', { reason, error });
  }

  #closeTransports(): void {
    const transports = this.#transports;
    this.#transports = undefined;
    if (transports !== undefined) this.#close(transports);
  }

  #close(transports: Transports): void {
    transports.watch.close();
    for (const keeper of transports.keepers) keeper.close();
    for (const pipe of Object.values(transports.pipes)) pipe.close();
    for (const transport of [transports.send, transports.receive]) {
      this.#options.encryption?.detach(transport.pc);
      transport.close();
    }
  }

  #updateState(): void {
    const state = this.#currentState();
    if (state === this.#state) return;
    this.#state = state;
    this.emit('connectionStateChanged', undefined);
  }

  #currentState(): CallConnectionState {
    if (this.#phase === 'ended') return 'Disconnected';
    if (this.#phase === 'joining' || this.#phase === 'lobby') {
      return this.#everJoined ? 'Reconnecting' : 'Connecting';
    }
    if (this.#resuming || this.#options.connection.state !== 'Connected') return 'Reconnecting';
    const up = this.#transports?.keepers.every((keeper) => keeper.healthy) ?? false;
    if (up) {
      this.#mediaWasUp = true;
      this.#rejoins = 0;
      return 'Connected';
    }
    return this.#mediaWasUp || this.#state === 'Reconnecting' ? 'Reconnecting' : 'Connecting';
  }
}

async function offerOf(pc: RTCPeerConnection): Promise<string> {
  await pc.setLocalDescription(await pc.createOffer());
  return pc.localDescription?.sdp ?? '';
}

async function answer(
  pc: RTCPeerConnection,
  description: { readonly sdp: string } | undefined,
): Promise<void> {
  if (description === undefined) throw new ConvokeError('sdpInvalid', 'An answer is missing.');
  await pc.setRemoteDescription({ type: 'answer', sdp: description.sdp });
}
