/**
 * One WebSocket to the server, from its opening to its end.
 *
 * Owns: matching of replies to requests, pings, and the finding that a silent socket is dead.
 * Never: opens a second socket or knows what a call is; `AgentConnection` does the former, `Call`
 * the latter.
 */
import type { Environment, SocketLike } from '../environment.js';
import { ConvokeError } from '../errors.js';
import { CLOSE, type ClientMessage, type ServerMessage } from '../generated/protocol.js';

/** How long to wait for what. */
export interface SignallingTimeouts {
  /** For the WebSocket to open. */
  readonly openMs: number;
  /** For the reply to a request. */
  readonly replyMs: number;
  /** For any message after a ping; at most the server's ping interval. */
  readonly pongMs: number;
}

/** Used where the app gives none. */
export const DEFAULT_TIMEOUTS: SignallingTimeouts = {
  openMs: 10_000,
  replyMs: 15_000,
  pongMs: 5_000,
};

/** What the owner of the socket hears. */
export interface SocketHandlers {
  /** Every message except `pong`, in order; before the request that it answers is settled. */
  onMessage(message: ServerMessage): void;
  /** Once; nothing comes after it. */
  onClosed(error: ConvokeError): void;
}

/** Omits `requestId`, which the socket gives. */
export type ClientRequest = ClientMessage extends infer M
  ? M extends ClientMessage
    ? Omit<M, 'requestId'>
    : never
  : never;

interface Pending {
  resolve(reply: ServerMessage): void;
  reject(error: ConvokeError): void;
  onReply: ((reply: ServerMessage) => void) | undefined;
  timer: ReturnType<typeof setTimeout>;
}

export class AgentSocket {
  readonly #socket: SocketLike;
  readonly #handlers: SocketHandlers;
  readonly #timeouts: SignallingTimeouts;
  readonly #pending = new Map<number, Pending>();
  #nextRequestId = 1;
  #closed = false;
  #maxMessageBytes = Number.POSITIVE_INFINITY;
  #pingTimer: ReturnType<typeof setInterval> | undefined;
  #pongTimer: ReturnType<typeof setTimeout> | undefined;

  private constructor(socket: SocketLike, handlers: SocketHandlers, timeouts: SignallingTimeouts) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.#timeouts = timeouts;
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#end(closeError(event.code, event.reason));
    socket.onerror = null;
  }

  /** Opens a socket; rejects with `connectionFailed`. */
  static open(
    url: string,
    environment: Environment,
    handlers: SocketHandlers,
    timeouts: SignallingTimeouts,
  ): Promise<AgentSocket> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = socket.onerror = null;
        socket.close();
        reject(new ConvokeError('connectionFailed', `The server at ${url} ${why}.`));
      };
      const timer = setTimeout(() => fail('did not answer in time'), timeouts.openMs);
      const socket = environment.createSocket(url);
      socket.onerror = () => fail('could not be reached');
      socket.onclose = () => fail('closed the connection at once');
      socket.onopen = () => {
        clearTimeout(timer);
        socket.onopen = null;
        resolve(new AgentSocket(socket, handlers, timeouts));
      };
    });
  }

  /**
   * Sends and waits for the reply with the same `requestId`; an `error` reply rejects. `onReply`
   * runs at once when the reply comes, before any later message is handed on.
   */
  request(
    message: ClientRequest,
    onReply?: (reply: ServerMessage) => void,
  ): Promise<ServerMessage> {
    if (this.#closed) {
      return Promise.reject(
        new ConvokeError('notConnected', 'There is no connection to the server.'),
      );
    }
    const requestId = this.#nextRequestId++;
    const text = JSON.stringify({ ...message, requestId });
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > this.#maxMessageBytes) {
      const limit = this.#maxMessageBytes;
      return Promise.reject(
        new ConvokeError(
          'messageTooBig',
          `The ${message.type} message has ${bytes} bytes; the server takes ${limit}.`,
        ),
      );
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(requestId);
        reject(new ConvokeError('requestTimeout', `The server did not answer ${message.type}.`));
      }, this.#timeouts.replyMs);
      this.#pending.set(requestId, { resolve, reject, onReply, timer });
      this.#socket.send(text);
    });
  }

  /** Keeps the limits of `welcome`: message size and pings. */
  keep(limits: { maxMessageBytes: number }, pingIntervalMs: number): void {
    this.#maxMessageBytes = limits.maxMessageBytes;
    clearInterval(this.#pingTimer);
    this.#pingTimer = setInterval(() => this.check(), pingIntervalMs);
  }

  /** Pings now; if nothing comes back in time, the socket is taken for dead. */
  check(): void {
    if (this.#closed || this.#pongTimer !== undefined) return;
    this.#pongTimer = setTimeout(() => {
      this.close(new ConvokeError('connectionLost', 'The server does not answer pings.'));
    }, this.#timeouts.pongMs);
    this.#socket.send(JSON.stringify({ type: 'ping' } satisfies ClientMessage));
  }

  /** Whether something came since the last ping. */
  get answered(): boolean {
    return !this.#closed && this.#pongTimer === undefined;
  }

  /** Ends the socket; the owner hears `onClosed` with `error`. */
  close(error: ConvokeError): void {
    if (this.#closed) return;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close(1000);
    this.#end(error);
  }

  #receive(data: unknown): void {
    clearTimeout(this.#pongTimer);
    this.#pongTimer = undefined;
    const message = parse(data);
    if (message === undefined || message.type === 'pong') return;
    const requestId = 'requestId' in message ? message.requestId : undefined;
    const pending = requestId === undefined ? undefined : this.#pending.get(requestId);
    if (pending !== undefined && requestId !== undefined) {
      clearTimeout(pending.timer);
      this.#pending.delete(requestId);
      if (message.type === 'error') {
        pending.reject(ConvokeError.fromReply(message));
        return;
      }
      pending.onReply?.(message);
    }
    this.#handlers.onMessage(message);
    pending?.resolve(message);
  }

  #end(error: ConvokeError): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#pingTimer);
    clearTimeout(this.#pongTimer);
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(error);
    }
    this.#pending.clear();
    this.#handlers.onClosed(error);
  }
}

/** Messages that are no JSON objects with a `type` are passed over; newer servers may send any. */
function parse(data: unknown): ServerMessage | undefined {
  if (typeof data !== 'string') return undefined;
  try {
    const message: unknown = JSON.parse(data);
    if (typeof message === 'object' && message !== null && 'type' in message) {
      return message as ServerMessage;
    }
  } catch {
    return undefined;
  }
  return undefined;
}

function closeError(code: number, reason: string): ConvokeError {
  if (code === CLOSE.TAKEN_OVER) {
    return new ConvokeError('takenOver', 'The call went on in another connection.');
  }
  if (code === CLOSE.TOKEN_REVOKED) {
    return new ConvokeError('tokenRevoked', 'The access token was revoked.');
  }
  if (code === CLOSE.TOO_BIG) {
    return new ConvokeError('messageTooBig', 'A message was larger than the server takes.');
  }
  const detail = reason === '' ? `code ${code}` : `code ${code}: ${reason}`;
  return new ConvokeError('connectionLost', `The connection to the server was lost (${detail}).`);
}
