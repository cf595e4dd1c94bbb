/**
 * The way in: makes agents and the device manager.
 *
 * Owns: defaults and options.
 * Never: connects before `createCallAgent`.
 */
import { type Backoff, DEFAULT_BACKOFF } from './backoff.js';
import { CallAgent } from './callAgent.js';
import { BROWSER, type Environment } from './environment.js';
import { DeviceManager } from './local/deviceManager.js';
import { DEFAULT_KEEPER, type KeeperTimings } from './media/transportKeeper.js';
import { AgentConnection } from './signalling/agentConnection.js';
import { DEFAULT_TIMEOUTS, type SignallingTimeouts } from './signalling/agentSocket.js';
import type { TokenSource } from './signalling/tokenCredential.js';

/** The version that the server's logs show. */
export const SDK_VERSION = '0.1.0';

export interface CallClientOptions {
  /** How a lost connection is sought again. */
  readonly reconnection?: Partial<Backoff>;
  readonly timeouts?: Partial<SignallingTimeouts>;
  /** When the media's path is renewed. */
  readonly mediaRecovery?: Partial<KeeperTimings>;
  /** Name and version of the app, for the server's logs. */
  readonly appName?: string;
  /** @internal */
  readonly environment?: Environment;
}

export interface CallAgentOptions {
  /** A name to show where the token gives none; at most 256 bytes. */
  readonly displayName?: string;
  /** The server's agent endpoint; default: `/agent` where the page came from. */
  readonly url?: string;
}

export class CallClient {
  readonly #options: CallClientOptions;
  readonly #environment: Environment;
  #devices: DeviceManager | undefined;

  constructor(options: CallClientOptions = {}) {
    this.#options = options;
    this.#environment = options.environment ?? BROWSER;
  }

  /** Connects and authenticates; rejects with a `ConvokeError`. */
  async createCallAgent(tokens: TokenSource, options: CallAgentOptions = {}): Promise<CallAgent> {
    const { appName, reconnection, timeouts, mediaRecovery } = this.#options;
    const sdk = `convoke-web/${SDK_VERSION}`;
    const backoff = { ...DEFAULT_BACKOFF, ...reconnection };
    const connection = new AgentConnection({
      url: options.url ?? defaultUrl(),
      tokens,
      displayName: options.displayName,
      userAgent: appName === undefined ? sdk : `${appName} ${sdk}`,
      environment: this.#environment,
      backoff,
      timeouts: { ...DEFAULT_TIMEOUTS, ...timeouts },
    });
    await connection.connect();
    return new CallAgent({
      connection,
      environment: this.#environment,
      devices: await this.getDeviceManager(),
      backoff,
      keeper: { ...DEFAULT_KEEPER, ...mediaRecovery },
    });
  }

  /** The one device manager of this client. */
  async getDeviceManager(): Promise<DeviceManager> {
    this.#devices ??= new DeviceManager(this.#environment);
    return this.#devices;
  }
}

function defaultUrl(): string {
  const url = new URL('/agent', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
