/** A server's side of fake WebSockets: tests read what came and say what goes back. */
import type { SocketLike } from '../../src/environment.js';
import type {
  ClientMessage,
  IceServer,
  Participant,
  ServerMessage,
  Slot,
  Welcome,
} from '../../src/generated/protocol.js';

export class FakeSocket implements SocketLike {
  readyState = 0;
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  readonly sent: (ClientMessage & { requestId?: number })[] = [];
  closedByClient = false;
  /** Called with each message of the client. */
  script: ((message: ClientMessage & { requestId?: number }) => void) | undefined;

  send(data: string): void {
    const message = JSON.parse(data) as ClientMessage;
    this.sent.push(message);
    this.script?.(message);
  }

  close(): void {
    this.closedByClient = true;
    this.readyState = 3;
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.(new Event('open'));
  }

  /** The server says something, in a task of its own. */
  say(message: ServerMessage | Record<string, unknown>): void {
    const data = JSON.stringify(message);
    setTimeout(() => this.onmessage?.({ data } as MessageEvent), 0);
  }

  /** The connection breaks. */
  drop(code = 1006, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason } as CloseEvent);
  }

  last<T extends ClientMessage['type']>(type: T): Extract<ClientMessage, { type: T }> | undefined {
    return this.sent.filter((message) => message.type === type).at(-1) as
      | Extract<ClientMessage, { type: T }>
      | undefined;
  }
}

export function welcome(requestId?: number): { type: 'welcome' } & Welcome {
  return {
    type: 'welcome',
    ...(requestId === undefined ? {} : { requestId }),
    agentId: 'agent-1',
    identity: '8:me',
    displayName: 'Me',
    scopes: ['voip'],
    expiresAtMs: 4_000_000_000_000,
    limits: { maxMessageBytes: 1_000_000, audioSlots: 2, videoSlots: 3 },
    pingIntervalMs: 10_000,
    iceServers: [],
  };
}

export function participant(id: string, more: Partial<Participant> = {}): Participant {
  return {
    participantId: id,
    csrc: id.length * 1000 + (id.codePointAt(id.length - 1) ?? 0),
    identity: `8:${id}`,
    displayName: id,
    connection: 'connected',
    tracks: [],
    ...more,
  };
}

/** Two audio and three video slots, as the mids of the receive transport come. */
export function emptySlots(): Slot[] {
  return [0, 1, 2, 3, 4].map((n) => ({
    mid: String(n),
    kind: n < 2 ? ('audio' as const) : ('video' as const),
    index: n < 2 ? n : n - 2,
    state: 'empty' as const,
  }));
}

/** A server good enough to join, publish, resume and leave. Tests change its fields. */
export class FakeServer {
  readonly sockets: FakeSocket[] = [];
  /** Sockets that are asked for while this is false never open. */
  up = true;
  version = 10;
  participants: Participant[] = [];
  slots: Slot[] = emptySlots();
  refuse: Partial<Record<ClientMessage['type'], string>> = {};
  resumable = true;
  good = (_token: string): boolean => true;
  silent = false;
  joins = 0;
  iceServers: IceServer[] = [];
  callId = 'call-1';

  readonly createSocket = (): FakeSocket => {
    const socket = new FakeSocket();
    this.sockets.push(socket);
    socket.script = (message) => this.#answer(socket, message);
    if (this.up) setTimeout(() => socket.open(), 0);
    else setTimeout(() => socket.onerror?.(new Event('error')), 0);
    return socket;
  };

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error('no socket was opened');
    return socket;
  }

  /** What everyone's client would hear. */
  change(message: Record<string, unknown>): void {
    this.version += 1;
    this.socket.say({ callId: this.callId, version: this.version, ...message });
  }

  /** As if a moderator had muted all that the client publishes. */
  muteAll(): void {
    const tracks = this.#self.tracks.map((track) => ({ ...track, muted: true }));
    this.#self = { ...this.#self, tracks };
  }

  #answer(socket: FakeSocket, message: ClientMessage): void {
    if (this.silent) return;
    const { requestId } = message;
    const code = this.refuse[message.type];
    if (code !== undefined) {
      socket.say({ type: 'error', requestId, code, message: `refused: ${code}` });
      return;
    }
    switch (message.type) {
      case 'hello':
        if (this.good(message.token)) {
          socket.say({ ...welcome(requestId), iceServers: this.iceServers });
        } else socket.say({ type: 'error', requestId, code: 'tokenInvalid', message: 'other key' });
        return;
      case 'ping':
        socket.say({ type: 'pong' });
        return;
      case 'join': {
        this.joins += 1;
        const tracks = (message.tracks ?? []).map((track) => ({
          trackId: `T${track.clientId}`,
          clientId: track.clientId,
          source: track.source,
          muted: track.muted ?? false,
        }));
        this.#self = participant(`me${this.joins}`, { tracks });
        socket.say({
          type: 'joined',
          requestId,
          groupId: message.groupId,
          resumeGraceMs: 30_000,
          send: { sdp: 'answer-send' },
          receive: { sdp: 'answer-receive' },
          ...this.#picture(),
        });
        return;
      }
      case 'resume':
        if (this.resumable) {
          socket.say({ type: 'resumed', requestId, groupId: 'g', ...this.#picture() });
        } else {
          socket.say({ type: 'error', requestId, code: 'resumeInvalid', message: 'too late' });
        }
        return;
      case 'offer':
        socket.say({
          type: 'answer',
          requestId,
          callId: this.callId,
          transport: message.transport,
          sdp: `answer-to-${message.sdp}`,
          slots: [],
        });
        return;
      case 'leave':
        socket.say({
          type: 'ended',
          requestId,
          callId: this.callId,
          code: 0,
          subCode: 0,
          message: 'left',
        });
        return;
      default:
        socket.say({ type: 'ack', requestId });
    }
  }

  #self: Participant = participant('me1');

  #picture() {
    return {
      callId: this.callId,
      participantId: this.#self.participantId,
      resumeToken: `resume-${this.sockets.length}`,
      version: this.version,
      participants: [this.#self, ...this.participants],
      slots: this.slots,
    };
  }
}
