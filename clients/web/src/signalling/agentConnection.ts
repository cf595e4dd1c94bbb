/**
 * The agent: an authenticated WebSocket that is replaced when it is lost.
 *
 * Owns: connecting, `hello`, renewal of the token, and reconnection with backoff.
 * Never: touches media; calls hear `connected` and `lost` and resume by themselves.
 */
import { type Backoff, delayMs } from '../backoff.js';
import type { Environment } from '../environment.js';
import { ConvokeError, type ConvokeErrorCode } from '../errors.js';
import { Emitter } from '../events.js';
import { PROTOCOL_VERSION, type ServerMessage, type Welcome } from '../generated/protocol.js';
import { AgentSocket, type ClientRequest, type SignallingTimeouts } from './agentSocket.js';
import { renewalDelayMs, type TokenSource, tokenOf } from './tokenCredential.js';

export type AgentConnectionState = 'Connecting' | 'Connected' | 'Reconnecting' | 'Disconnected';

export interface AgentConnectionOptions {
  readonly url: string;
  readonly tokens: TokenSource;
  readonly displayName: string | undefined;
  readonly userAgent: string;
  readonly environment: Environment;
  readonly backoff: Backoff;
  readonly timeouts: SignallingTimeouts;
}

interface ConnectionEvents {
  stateChanged: AgentConnectionState;
  /** The server said anew what counts: on another socket, or for another token. */
  welcomed: Welcome;
  message: ServerMessage;
  /** A new socket is authenticated after one was lost. */
  reconnected: Welcome;
  lost: ConvokeError;
  /** No further attempt will be made. */
  failed: ConvokeError;
}

/** Refusals that no further attempt can mend. */
const FINAL = new Set<ConvokeErrorCode>([
  'tokenMissing',
  'tokenInvalid',
  'tokenExpired',
  'tokenNotYetValid',
  'tokenRevoked',
  'scopeMissing',
  'protocolVersion',
  'takenOver',
  'messageTooBig',
]);

/** Refusals that another token may mend. */
const TOKEN_FAULTS = new Set<ConvokeErrorCode>(['tokenInvalid', 'tokenExpired', 'tokenRevoked']);
const MIN_TOKEN_LIFE_MS = 60_000;
/** The first attempt after a socket that was given up waits so long at most. */
const HASTY_MS = 30;

export class AgentConnection extends Emitter<ConnectionEvents> {
  readonly #options: AgentConnectionOptions;
  readonly #offNetwork: () => void;
  #socket: AgentSocket | undefined;
  #state: AgentConnectionState = 'Connecting';
  #welcome: Welcome | undefined;
  #token: string | undefined;
  #renewTimer: ReturnType<typeof setTimeout> | undefined;
  #wake: (() => void) | undefined;
  #hasty = false;
  /** Of reaching the server again. */
  #attempts = 0;

  constructor(options: AgentConnectionOptions) {
    super();
    this.#options = options;
    this.#offNetwork = options.environment.onNetworkChange(() => this.networkChanged());
  }

  get state(): AgentConnectionState {
    return this.#state;
  }

  /** What the server said last; undefined before the first `welcome`. */
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  /** The first connection: one attempt, whose failure is the caller's to show. */
  async connect(): Promise<Welcome> {
    try {
      const welcome = await this.#attempt();
      this.#setState('Connected');
      return welcome;
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** See `AgentSocket.request`; rejects with `notConnected` while there is no socket. */
  request(
    message: ClientRequest,
    onReply?: (reply: ServerMessage) => void,
  ): Promise<ServerMessage> {
    if (this.#socket === undefined || this.#state !== 'Connected') {
      return Promise.reject(
        new ConvokeError('notConnected', 'There is no connection to the server.'),
      );
    }
    return this.#socket.request(message, onReply);
  }

  /** Asks the server for an answer; see `answered`. */
  check(): void {
    this.#socket?.check();
  }

  /**
   * The network may have changed: tests the socket, or attempts again at once, and then as often as in the
   * beginning, for a network that was just announced need not work at once.
   */
  networkChanged(): void {
    this.#socket?.check();
    this.#attempts = 0;
    this.#wake?.();
  }

  /** Whether the server said something since the last ping; also where there is none to be waited for. */
  get answered(): boolean {
    return this.#socket?.answered ?? false;
  }

  /**
   * The network is gone, and the socket with it: opens another one at once. A socket that is given up in
   * error costs no more than a resume.
   */
  replace(): void {
    const error = new ConvokeError('connectionLost', 'Nothing comes from the server any more.');
    this.#hasty = this.#socket !== undefined;
    this.#socket?.close(error);
  }

  dispose(): void {
    if (this.#state === 'Disconnected') return;
    this.#setState('Disconnected');
    this.#offNetwork();
    clearTimeout(this.#renewTimer);
    this.#wake?.();
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(new ConvokeError('disposed', 'The agent was disposed.'));
  }

  async #attempt(): Promise<Welcome> {
    const { url, environment, timeouts } = this.#options;
    // Before the socket is opened: the server gives it only some seconds to say hello.
    const known = this.#goodToken();
    const token = known ?? (await this.#freshToken());
    const socket: AgentSocket = await AgentSocket.open(
      url,
      environment,
      {
        onMessage: (message) => this.emit('message', message),
        onClosed: (error) => this.#onClosed(socket, error),
      },
      timeouts,
    );
    try {
      const reply = await this.#hello(socket, token).catch(async (cause: unknown) => {
        // A restarted server may have other keys.
        const stale = TOKEN_FAULTS.has(ConvokeError.from(cause).code);
        if (!stale || known === undefined || typeof this.#options.tokens === 'string') throw cause;
        return this.#hello(socket, await this.#freshToken());
      });
      if (this.#state === 'Disconnected') throw new ConvokeError('disposed', 'The agent is gone.');
      this.#socket = socket;
      this.#accept(socket, reply);
      return reply;
    } catch (error) {
      socket.close(ConvokeError.from(error));
      throw error;
    }
  }

  async #hello(socket: AgentSocket, token: string): Promise<Welcome> {
    const { displayName, userAgent } = this.#options;
    const reply = await socket.request({
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      token,
      userAgent,
      ...(displayName === undefined ? {} : { displayName }),
    });
    if (reply.type !== 'welcome') {
      throw new ConvokeError('connectionFailed', `The server answered hello by ${reply.type}.`);
    }
    return reply;
  }

  /** The token that the server took last, while it is good for longer than a join takes. */
  #goodToken(): string | undefined {
    const goodForMs = (this.#welcome?.expiresAtMs ?? 0) - Date.now();
    return goodForMs > MIN_TOKEN_LIFE_MS ? this.#token : undefined;
  }

  async #freshToken(): Promise<string> {
    this.#token = await tokenOf(this.#options.tokens);
    return this.#token;
  }

  #accept(socket: AgentSocket, welcome: Welcome): void {
    this.#welcome = welcome;
    this.emit('welcomed', welcome);
    socket.keep(welcome.limits, welcome.pingIntervalMs);
    clearTimeout(this.#renewTimer);
    const delay = renewalDelayMs(this.#options.tokens, welcome.expiresAtMs, Date.now());
    if (delay !== undefined) this.#renewTimer = setTimeout(() => this.#renew(), delay);
  }

  /** A failed renewal is tried again by the next one; the server decides when it is too late. */
  async #renew(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return;
    try {
      const reply = await this.#hello(socket, await this.#freshToken());
      if (this.#socket === socket) this.#accept(socket, reply);
    } catch {
      if (this.#socket === socket) this.#renewTimer = setTimeout(() => this.#renew(), 10_000);
    }
  }

  #onClosed(socket: AgentSocket, error: ConvokeError): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    clearTimeout(this.#renewTimer);
    if (this.#state === 'Disconnected') return;
    if (FINAL.has(error.code)) {
      this.#fail(error);
      return;
    }
    this.#setState('Reconnecting');
    this.emit('lost', error);
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    const { backoff, environment } = this.#options;
    const giveUpAt = Date.now() + backoff.giveUpMs;
    const first = this.#hasty
      ? { ...backoff, baseMs: Math.min(HASTY_MS, backoff.baseMs) }
      : backoff;
    this.#hasty = false;
    await this.#sleep(delayMs(0, first, environment.random()));
    for (this.#attempts = 1; this.#state === 'Reconnecting'; ) {
      try {
        const welcome = await this.#attempt();
        this.#setState('Connected');
        this.emit('reconnected', welcome);
        return;
      } catch (cause) {
        const error = ConvokeError.from(cause);
        if (FINAL.has(error.code) || Date.now() >= giveUpAt) {
          this.#fail(error);
          return;
        }
        if (error.retryAfterMs !== undefined) {
          await this.#sleep(Math.min(error.retryAfterMs, backoff.maxMs));
        }
        const delay = delayMs(this.#attempts, backoff, environment.random());
        this.#attempts += 1;
        await this.#sleep(delay);
      }
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wake = done;
    });
  }

  #fail(error: ConvokeError): void {
    if (this.#state === 'Disconnected') return;
    this.dispose();
    this.emit('failed', error);
  }

  #setState(state: AgentConnectionState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.emit('stateChanged', state);
  }
}
