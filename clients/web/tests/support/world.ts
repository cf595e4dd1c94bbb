/** A client with its fake server, peer connections and devices. */
import { vi } from 'vitest';
import type { Call } from '../../src/call/call.js';
import type { CallAgent } from '../../src/callAgent.js';
import { CallClient } from '../../src/callClient.js';
import type { Environment } from '../../src/environment.js';
import type { TokenSource } from '../../src/signalling/tokenCredential.js';
import { FakeMediaDevices } from './fakeMedia.js';
import { FakePeerConnection } from './fakePeerConnection.js';
import { FakeServer } from './fakeSocket.js';

export const GROUP = '29228d3e-040e-4656-a70e-890ab4e173e5';

export class World {
  readonly server = new FakeServer();
  readonly devices = new FakeMediaDevices();
  readonly connections: FakePeerConnection[] = [];
  readonly networkListeners = new Set<() => void>();
  readonly client: CallClient;

  constructor() {
    const environment: Environment = {
      createSocket: this.server.createSocket,
      createPeerConnection: (configuration) => {
        const pc = new FakePeerConnection(configuration);
        this.connections.push(pc);
        return pc as unknown as RTCPeerConnection;
      },
      mediaDevices: () => this.devices as unknown as MediaDevices,
      random: () => 0.5,
      onNetworkChange: (listener) => {
        this.networkListeners.add(listener);
        return () => this.networkListeners.delete(listener);
      },
    };
    this.client = new CallClient({
      environment,
      reconnection: { baseMs: 100, maxMs: 1_000, giveUpMs: 20_000 },
    });
  }

  async agent(tokens: TokenSource = 'token'): Promise<CallAgent> {
    const agent = this.client.createCallAgent(tokens, { url: 'ws://server/agent' });
    // Refused while time is moved on; the test looks at it afterwards.
    agent.catch(() => undefined);
    await settle();
    return agent;
  }

  /** Joins and waits until connected. */
  async join(muted = false): Promise<{ agent: CallAgent; call: Call }> {
    const agent = await this.agent();
    const call = agent.join({ groupId: GROUP }, { audioOptions: { muted } });
    await settle();
    return { agent, call };
  }

  /** The present pair. */
  get send(): FakePeerConnection {
    return this.#pc(-2);
  }

  get receive(): FakePeerConnection {
    return this.#pc(-1);
  }

  #pc(at: number): FakePeerConnection {
    const pc = this.connections.at(at);
    if (pc === undefined) throw new Error('no peer connection was made');
    return pc;
  }
}

/** Lets everything that is due at once happen. */
export async function settle(ms = 20): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}
