/**
 * The agent: one authenticated connection, and the calls made over it.
 *
 * Owns: the list of live calls.
 * Never: outlives `dispose`; make another from the `CallClient`.
 */
import type { Backoff } from './backoff.js';
import { Call, type JoinCallOptions } from './call/call.js';
import type { Locator } from './call/locator.js';
import type { Entry } from './call/session.js';
import type { Environment } from './environment.js';
import { ConvokeError } from './errors.js';
import { Emitter } from './events.js';
import type { Scope, ServerMessage } from './generated/protocol.js';
import { IncomingCall } from './incomingCall.js';
import type { DeviceManager } from './local/deviceManager.js';
import type { KeeperTimings } from './media/transportKeeper.js';
import type { AgentConnection, AgentConnectionState } from './signalling/agentConnection.js';

/** How to call. */
export interface StartCallOptions extends JoinCallOptions {
  /** Of the app's own, for those who are called; at most 2 KiB. */
  readonly customContext?: string;
  /** How long to ring; the server's own time when absent. */
  readonly ringTimeoutMs?: number;
}

export interface CallAgentEvents {
  incomingCall: { readonly incomingCall: IncomingCall };
  callsUpdated: { readonly added: readonly Call[]; readonly removed: readonly Call[] };
  connectionStateChanged: undefined;
}

/** @internal */
export interface CallAgentDependencies {
  readonly connection: AgentConnection;
  readonly environment: Environment;
  readonly devices: DeviceManager;
  readonly backoff: Backoff;
  readonly keeper: KeeperTimings;
}

export class CallAgent extends Emitter<CallAgentEvents> {
  readonly #dependencies: CallAgentDependencies;
  readonly #calls = new Set<Call>();
  readonly #incoming = new Map<string, IncomingCall>();

  /** @internal */
  constructor(dependencies: CallAgentDependencies) {
    super();
    this.#dependencies = dependencies;
    dependencies.connection.on('stateChanged', () =>
      this.emit('connectionStateChanged', undefined),
    );
    dependencies.connection.on('message', this.#onMessage);
    // What still rings, rings anew on the next connection.
    dependencies.connection.on('lost', () => this.#incoming.clear());
  }

  /** Calls that have not ended. */
  get calls(): readonly Call[] {
    return [...this.#calls];
  }

  get connectionState(): AgentConnectionState {
    return this.#dependencies.connection.state;
  }

  /** The name that others see: the token's, else the one asked for. */
  get displayName(): string {
    return this.#dependencies.connection.welcome?.displayName ?? '';
  }

  /** The identity that the token names. */
  get identity(): string {
    return this.#dependencies.connection.welcome?.identity ?? '';
  }

  /** What the token allows. */
  get scopes(): readonly Scope[] {
    return this.#dependencies.connection.welcome?.scopes ?? [];
  }

  /**
   * Joins a group call or the call of a scheduled room, or starts it where the token allows that. Returns at once, with the call in
   * state `None`; a refusal shows as `Disconnected` with `callEndReason` and `error`.
   */
  join(locator: Locator, options: JoinCallOptions = {}): Call {
    const { lobby } = options;
    const entry = { type: 'join' as const, ...locator };
    return this.#enter(lobby === undefined ? entry : { ...entry, lobby }, options);
  }

  /**
   * Calls identities: each rings on all its devices. How far that is says `call.ringing`; when
   * nobody answers the call ends by itself, with the reason.
   */
  startCall(identities: readonly string[], options: StartCallOptions = {}): Call {
    const { customContext, ringTimeoutMs } = options;
    return this.#enter(
      {
        type: 'startCall',
        targets: [...identities],
        ...(customContext === undefined ? {} : { customContext }),
        ...(ringTimeoutMs === undefined ? {} : { timeoutMs: ringTimeoutMs }),
      },
      options,
    );
  }

  #enter(entry: Entry, options: JoinCallOptions): Call {
    if (this.connectionState === 'Disconnected') {
      throw new ConvokeError('disposed', 'The agent is disconnected; make another.');
    }
    const call = new Call(entry, options, this.#dependencies);
    this.#calls.add(call);
    call.on('stateChanged', () => {
      if (call.state !== 'Disconnected') return;
      this.#calls.delete(call);
      this.emit('callsUpdated', { added: [], removed: [call] });
    });
    this.emit('callsUpdated', { added: [call], removed: [] });
    return call;
  }

  readonly #onMessage = (message: ServerMessage): void => {
    if (message.type === 'incomingCall') {
      const incomingCall = new IncomingCall(message, {
        accept: (call, options) => {
          this.#incoming.delete(call.id);
          return this.#enter({ type: 'acceptCall', incomingCallId: call.id }, options);
        },
        reject: async (call, busy) => {
          this.#incoming.delete(call.id);
          const incomingCallId = call.id;
          await this.#dependencies.connection.request({ type: 'rejectCall', incomingCallId, busy });
        },
      });
      this.#incoming.set(incomingCall.id, incomingCall);
      this.emit('incomingCall', { incomingCall });
    } else if (message.type === 'incomingCallEnded') {
      const call = this.#incoming.get(message.incomingCallId);
      this.#incoming.delete(message.incomingCallId);
      const { code, subCode } = message;
      call?.end({ code, subCode, message: message.message });
    }
  };

  /** Leaves every call and closes the connection. */
  async dispose(): Promise<void> {
    await Promise.all([...this.#calls].map((call) => call.hangUp()));
    this.#dependencies.connection.dispose();
  }
}
