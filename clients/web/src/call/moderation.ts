/**
 * Roles, capabilities, moderation and the lobby of one call.
 *
 * Owns: what the server last said of them, and the requests; names follow the ACS features.
 * Never: judges what is allowed; the server does, and `capabilities` says what it will.
 */
import { Emitter } from '../events.js';
import type {
  Capabilities,
  LobbyParticipant,
  RingTarget,
  Role,
  ServerMessage,
} from '../generated/protocol.js';
import type { RemoteParticipant } from '../remote/remoteParticipant.js';
import type { ClientRequest } from '../signalling/agentSocket.js';

/** Someone in the call, or its id. */
export type Who = string | Pick<RemoteParticipant, 'participantId'>;

/** @internal */
export interface ModerationLink {
  callId(): string;
  request(message: ClientRequest): Promise<unknown>;
}

const idOf = (who: Who): string => (typeof who === 'string' ? who : who.participantId);
const idsOf = (who: readonly Who[]): string[] => who.map(idOf);

/** Those who wait before coming in; for those who have the capability `manageLobby`. */
export class Lobby extends Emitter<{ lobbyParticipantsUpdated: undefined }> {
  readonly #link: ModerationLink;
  #participants: readonly LobbyParticipant[] = [];

  /** @internal */
  constructor(link: ModerationLink) {
    super();
    this.#link = link;
  }

  /** In order of coming. */
  get participants(): readonly LobbyParticipant[] {
    return this.#participants;
  }

  async admit(...who: readonly Who[]): Promise<void> {
    const callId = this.#link.callId();
    await this.#link.request({ type: 'admit', callId, participantIds: idsOf(who) });
  }

  async admitAll(): Promise<void> {
    await this.#link.request({ type: 'admit', callId: this.#link.callId() });
  }

  async reject(...who: readonly Who[]): Promise<void> {
    const callId = this.#link.callId();
    await this.#link.request({ type: 'reject', callId, participantIds: idsOf(who) });
  }

  /** @internal */
  set(participants: readonly LobbyParticipant[]): void {
    if (participants.length === 0 && this.#participants.length === 0) return;
    this.#participants = participants;
    this.emit('lobbyParticipantsUpdated', undefined);
  }
}

/** A list of people that the server keeps in order, whose change is told by one event. */
class PeopleList<E extends string> extends Emitter<Record<E, undefined>> {
  /** @internal */
  protected readonly link: ModerationLink;
  readonly #changed: E;
  #ids: readonly string[] = [];

  /** @internal */
  constructor(link: ModerationLink, changed: E) {
    super();
    this.link = link;
    this.#changed = changed;
  }

  /** Their `participantId`s, in order. */
  get participantIds(): readonly string[] {
    return this.#ids;
  }

  /** @internal */
  set(ids: readonly string[]): void {
    if (ids.join() === this.#ids.join()) return;
    this.#ids = ids;
    this.emit(this.#changed, undefined as Record<E, undefined>[E]);
  }
}

/** Whom everybody should see large. */
export class Spotlight extends PeopleList<'spotlightChanged'> {
  /** @internal */
  constructor(link: ModerationLink) {
    super(link, 'spotlightChanged');
  }

  async start(...who: readonly Who[]): Promise<void> {
    const callId = this.link.callId();
    await this.link.request({ type: 'startSpotlight', callId, participantIds: idsOf(who) });
  }

  async stop(...who: readonly Who[]): Promise<void> {
    const callId = this.link.callId();
    await this.link.request({ type: 'stopSpotlight', callId, participantIds: idsOf(who) });
  }

  async stopAll(): Promise<void> {
    await this.link.request({ type: 'stopSpotlight', callId: this.link.callId() });
  }
}

/** Who asks to speak; who raised a hand first stands first. */
export class RaisedHands extends PeopleList<'raisedHandsChanged'> {
  /** @internal */
  constructor(link: ModerationLink) {
    super(link, 'raisedHandsChanged');
  }

  async raiseHand(): Promise<void> {
    await this.link.request({ type: 'raiseHand', callId: this.link.callId() });
  }

  /** Lowers our own hand. */
  async lowerHand(): Promise<void> {
    await this.link.request({ type: 'lowerHands', callId: this.link.callId() });
  }

  async lowerHands(...who: readonly Who[]): Promise<void> {
    const callId = this.link.callId();
    await this.link.request({ type: 'lowerHands', callId, participantIds: idsOf(who) });
  }
}

interface ModerationEvents {
  roleChanged: undefined;
  capabilitiesChanged: undefined;
  ringingChanged: undefined;
  /** By whose `participantId`; undefined when a service did it. */
  mutedByOthers: { readonly by: string | undefined };
}

/** @internal What `Call` shows of all this. */
export class Moderation extends Emitter<ModerationEvents> {
  readonly lobby: Lobby;
  readonly spotlight: Spotlight;
  readonly raisedHands: RaisedHands;
  readonly #link: ModerationLink;
  #role: Role | undefined;
  #capabilities: Capabilities | undefined;
  #ringing: readonly RingTarget[] = [];

  constructor(link: ModerationLink) {
    super();
    this.#link = link;
    this.lobby = new Lobby(link);
    this.spotlight = new Spotlight(link);
    this.raisedHands = new RaisedHands(link);
  }

  get role(): Role | undefined {
    return this.#role;
  }

  get capabilities(): Capabilities | undefined {
    return this.#capabilities;
  }

  get ringing(): readonly RingTarget[] {
    return this.#ringing;
  }

  async setRole(who: Who, role: Role): Promise<void> {
    const callId = this.#link.callId();
    await this.#link.request({ type: 'setRole', callId, participantId: idOf(who), role });
  }

  async mute(who: readonly Who[] | undefined): Promise<void> {
    const callId = this.#link.callId();
    const named = who === undefined ? {} : { participantIds: idsOf(who) };
    await this.#link.request({ type: 'muteParticipants', callId, ...named });
  }

  async remove(who: Who): Promise<void> {
    const callId = this.#link.callId();
    await this.#link.request({ type: 'removeParticipant', callId, participantId: idOf(who) });
  }

  /** After a join or resume: a list that is not told is empty. */
  reset(): void {
    this.lobby.set([]);
    this.spotlight.set([]);
    this.raisedHands.set([]);
  }

  handle(message: ServerMessage): void {
    switch (message.type) {
      case 'roleChanged':
        if (message.role === this.#role) return;
        this.#role = message.role;
        this.emit('roleChanged', undefined);
        return;
      case 'capabilitiesChanged':
        this.#capabilities = message.capabilities;
        this.emit('capabilitiesChanged', undefined);
        return;
      case 'spotlightChanged':
        this.spotlight.set(message.participantIds);
        return;
      case 'raisedHandsChanged':
        this.raisedHands.set(message.participantIds);
        return;
      case 'lobbyParticipantsUpdated':
        this.lobby.set(message.participants);
        return;
      case 'ringUpdated':
        this.#ringing = message.targets;
        this.emit('ringingChanged', undefined);
        return;
      case 'mutedByOthers':
        this.emit('mutedByOthers', { by: message.by });
        return;
      default:
        return;
    }
  }
}
