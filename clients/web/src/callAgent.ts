/**
 * The agent: one authenticated connection, and the calls made over it.
 *
 * Owns: the list of live calls.
 * Never: outlives `dispose`; make another from the `CallClient`.
 */
import type { Backoff } from './backoff.js';
import { Call, type JoinCallOptions } from './call/call.js';
import type { Locator } from './call/locator.js';
import type { Environment } from './environment.js';
import { ConvokeError } from './errors.js';
import { Emitter } from './events.js';
import type { Scope } from './generated/protocol.js';
import type { DeviceManager } from './local/deviceManager.js';
import type { KeeperTimings } from './media/transportKeeper.js';
import type { AgentConnection, AgentConnectionState } from './signalling/agentConnection.js';

export interface CallAgentEvents {
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

  /** @internal */
  constructor(dependencies: CallAgentDependencies) {
    super();
    this.#dependencies = dependencies;
    dependencies.connection.on('stateChanged', () =>
      this.emit('connectionStateChanged', undefined),
    );
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
    if (this.connectionState === 'Disconnected') {
      throw new ConvokeError('disposed', 'The agent is disconnected; make another.');
    }
    const call = new Call(locator, options, this.#dependencies);
    this.#calls.add(call);
    call.on('stateChanged', () => {
      if (call.state !== 'Disconnected') return;
      this.#calls.delete(call);
      this.emit('callsUpdated', { added: [], removed: [call] });
    });
    this.emit('callsUpdated', { added: [call], removed: [] });
    return call;
  }

  /** Leaves every call and closes the connection. */
  async dispose(): Promise<void> {
    await Promise.all([...this.#calls].map((call) => call.hangUp()));
    this.#dependencies.connection.dispose();
  }
}
