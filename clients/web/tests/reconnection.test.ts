import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { participant } from './support/fakeSocket.js';
import { settle, World } from './support/world.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a lost WebSocket', () => {
  it('is resumed as the same participant, while the media goes on', async () => {
    const world = new World();
    world.server.participants = [participant('bob')];
    const { call } = await world.join();
    const bob = call.remoteParticipants[0];
    const states: string[] = [];
    call.on('connectionStateChanged', () => states.push(call.connectionState));
    world.server.socket.drop();
    await settle(0);
    world.server.participants = [participant('bob'), participant('carol')];
    world.server.version += 5;
    await settle(500);
    expect(world.server.socket.last('resume')?.resumeToken).toBe('resume-1');
    expect(states).toEqual(['Reconnecting', 'Connected']);
    expect(call.state).toBe('Connected');
    expect(world.connections).toHaveLength(2);
    expect(world.send.signalingState).toBe('stable');
    expect(call.remoteParticipants.map((p) => p.displayName)).toEqual(['bob', 'carol']);
    expect(call.remoteParticipants[0]).toBe(bob);
    // The next loss uses the token of the resume.
    world.server.socket.drop();
    await settle(500);
    expect(world.server.socket.last('resume')?.resumeToken).toBe('resume-2');
  });

  it('makes up for what was toggled meanwhile', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.up = false;
    world.server.socket.drop();
    await settle(100);
    await Promise.all([call.mute(), settle(0)]);
    expect(call.isMuted).toBe(true);
    world.server.up = true;
    await settle(2_000);
    expect(world.server.socket.last('mute')).toMatchObject({
      clientId: 'microphone-1',
      muted: true,
    });
  });

  it('becomes a fresh join when it was away too long', async () => {
    const world = new World();
    world.server.participants = [participant('bob')];
    const { call } = await world.join();
    const bob = call.remoteParticipants[0];
    const [oldSend] = world.connections;
    const states: string[] = [];
    call.on('connectionStateChanged', () => states.push(call.connectionState));
    world.server.resumable = false;
    world.server.socket.drop();
    await settle(1_000);
    expect(world.server.joins).toBe(2);
    expect(oldSend?.signalingState).toBe('closed');
    expect(world.connections).toHaveLength(4);
    expect(call.participantId).toBe('me2');
    expect(states).toEqual(['Reconnecting', 'Connected']);
    expect(call.state).toBe('Connected');
    // The same microphone goes on the new transport, under the same publication.
    expect(world.send.transceivers[0]?.sender.track).toBe(world.devices.opened[0]);
    expect(world.server.socket.last('join')?.tracks).toMatchObject([{ source: 'microphone' }]);
    expect(call.remoteParticipants).toEqual([bob]);
  });

  it('asks again when the server is too busy to resume', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.refuse.resume = 'busy';
    world.server.socket.drop();
    await settle(400);
    expect(call.connectionState).toBe('Reconnecting');
    delete world.server.refuse.resume;
    await settle(2_000);
    expect(call.connectionState).toBe('Connected');
    expect(world.server.joins).toBe(1);
  });

  it('ends the call when the fresh join is refused for good', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.resumable = false;
    world.server.refuse.join = 'tokenWrongCall';
    world.server.socket.drop();
    await settle(1_000);
    expect(call.state).toBe('Disconnected');
    expect(call.error?.code).toBe('tokenWrongCall');
  });

  it('waits for the call to come back after a restart of the server', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.resumable = false;
    world.server.refuse.join = 'callNotFound';
    world.server.socket.drop();
    await settle(300);
    expect(call.connectionState).toBe('Reconnecting');
    delete world.server.refuse.join;
    await settle(2_000);
    expect(call.connectionState).toBe('Connected');
  });

  it('ends the call when no server comes back', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.up = false;
    world.server.socket.drop();
    await settle(30_000);
    expect(call.state).toBe('Disconnected');
    expect(call.callEndReason?.code).toBe(408);
  });

  it('joins again if it was lost in the middle of the join', async () => {
    const world = new World();
    world.server.silent = false;
    const agent = await world.agent();
    world.server.refuse = {};
    const call = agent.join({ groupId: '29228d3e-040e-4656-a70e-890ab4e173e5' });
    world.server.silent = true;
    await settle(10);
    world.server.silent = false;
    world.server.socket.drop();
    await settle(1_000);
    expect(call.state).toBe('Connected');
    expect(world.server.joins).toBe(1);
  });

  it('joins afresh when the server lost the call', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.socket.say({
      type: 'ended',
      callId: 'call-1',
      code: 500,
      subCode: 70002,
      message: 'lost',
    });
    await settle(1_000);
    expect(call.state).toBe('Connected');
    expect(world.server.joins).toBe(2);
  });

  it('takes an unasked snapshot in place of what it knew', async () => {
    const world = new World();
    world.server.participants = [participant('bob')];
    const { call } = await world.join();
    world.server.change({
      type: 'snapshot',
      participants: [participant('me1'), participant('dave')],
      slots: [],
    });
    await settle();
    expect(call.remoteParticipants.map((p) => p.displayName)).toEqual(['dave']);
    // Our microphone is not in it, so it is published anew.
    expect(world.server.socket.last('publish')?.track.source).toBe('microphone');
  });
});

describe('a lost media path', () => {
  it('restarts ICE at once when it failed', async () => {
    const world = new World();
    const { call } = await world.join();
    const states: string[] = [];
    call.on('connectionStateChanged', () => states.push(call.connectionState));
    world.receive.become('failed');
    await settle();
    const offer = world.server.socket.last('offer');
    expect(offer).toMatchObject({ callId: 'call-1', transport: 'receive' });
    expect(offer?.sdp).toBe(world.receive.localDescription?.sdp);
    expect(world.receive.remote.at(-1)).toBe(`answer-to-${offer?.sdp}`);
    world.receive.become('connected');
    expect(states).toEqual(['Reconnecting', 'Connected']);
    expect(world.send.restarts).toBe(0);
  });

  it('has patience with a path that is only disconnected', async () => {
    const world = new World();
    await world.join();
    world.send.become('disconnected');
    await settle(2_000);
    world.send.become('connected');
    await settle(5_000);
    expect(world.send.restarts).toBe(0);
    world.send.become('disconnected');
    await settle(3_100);
    expect(world.send.restarts).toBe(1);
  });

  it('goes on trying, one offer at a time', async () => {
    const world = new World();
    await world.join();
    world.send.become('failed');
    await settle();
    world.send.become('failed');
    await settle(100);
    expect(world.send.restarts).toBe(2);
    await settle(8_100);
    expect(world.send.restarts).toBe(3);
  });

  it('restarts both when the network changed', async () => {
    const world = new World();
    await world.join();
    for (const listener of world.networkListeners) listener();
    await settle();
    expect(world.send.restarts).toBe(1);
    expect(world.receive.restarts).toBe(1);
  });

  /** Somebody speaks, and so do we. */
  async function speech(world: World, ms: number): Promise<void> {
    const [receiver] = world.receive.getReceivers();
    for (let at = 0; at < ms; at += 20) {
      if (receiver !== undefined) receiver.played += 1;
      world.send.traffic.sent += 1;
      world.send.traffic.received += 80;
      await settle(20);
    }
  }

  /** What goes out is lost. */
  async function silence(world: World, ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 20) {
      world.send.traffic.sent += 1;
      await settle(20);
    }
  }

  it('restarts both when nothing comes in any more', async () => {
    const world = new World();
    await world.join();
    await speech(world, 500);
    expect(world.receive.restarts).toBe(0);
    await silence(world, 400);
    expect([world.send.restarts, world.receive.restarts]).toEqual([1, 1]);
    expect(world.server.socket.last('ping')).toBeDefined();
    // A socket that answered is kept.
    await settle(500);
    expect(world.server.sockets).toHaveLength(1);
    expect(world.server.joins).toBe(1);
  });

  it('opens another socket beside the restart where the present one does not answer', async () => {
    const world = new World();
    const { call } = await world.join();
    await speech(world, 500);
    const [first] = world.server.sockets;
    if (first !== undefined) first.script = undefined;
    await silence(world, 460);
    expect(first?.closedByClient).toBe(true);
    expect(world.server.sockets).toHaveLength(2);
    // The offers that were made at once, right behind the resume.
    expect([world.send.restarts, world.receive.restarts]).toEqual([1, 1]);
    expect(world.server.socket.sent.map(({ type }) => type)).toEqual([
      'hello',
      'resume',
      'offer',
      'offer',
    ]);
    expect(world.send.remote.at(-1)).toBe(`answer-to-${world.send.localDescription?.sdp}`);
    expect(world.receive.remote.at(-1)).toBe(`answer-to-${world.receive.localDescription?.sdp}`);
    expect(call.connectionState).toBe('Connected');
    expect(world.server.joins).toBe(1);
  });

  it('joins afresh, once, where offers went out behind a resume that is refused', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.resumable = false;
    world.server.refuse.offer = 'notInCall';
    world.server.socket.drop();
    world.send.become('failed');
    await settle(1_000);
    const sent = world.server.socket.sent.map(({ type }) => type);
    expect(sent.slice(0, 3)).toEqual(['hello', 'resume', 'offer']);
    expect(world.server.joins).toBe(2);
    expect(call.state).toBe('Connected');
  });

  it('gives the offer that nobody answered again on the next socket, while it is fresh', async () => {
    for (const [lostAfterMs, restarts] of [
      [100, 1],
      [1_500, 2],
    ] as const) {
      const world = new World();
      await world.join();
      world.server.silent = true;
      world.send.become('failed');
      await settle(lostAfterMs);
      expect(world.send.restarts).toBe(1);
      world.server.silent = false;
      world.server.socket.drop();
      await settle(300);
      expect(world.server.socket.last('resume')).toBeDefined();
      expect(world.send.restarts).toBe(restarts);
      const offers = world.server.socket.sent.filter(({ type }) => type === 'offer');
      expect(offers).toMatchObject([{ sdp: world.send.localDescription?.sdp }]);
    }
  });

  it('makes a new offer where the network changed after the last', async () => {
    const world = new World();
    await world.join();
    world.server.up = false;
    world.server.socket.drop();
    world.send.become('failed');
    await settle(100);
    expect(world.send.restarts).toBe(1);
    world.server.up = true;
    for (const listener of world.networkListeners) listener();
    await settle(300);
    expect(world.send.restarts).toBe(2);
    expect(world.server.socket.last('offer')?.transport).toBeDefined();
  });

  it('asks the ICE servers of the newest welcome', async () => {
    const world = new World();
    world.server.iceServers = [{ urls: ['turn:turn.example.com'], username: '1', credential: 'a' }];
    await world.join();
    const fresh = [{ urls: ['turn:turn.example.com'], username: '2', credential: 'b' }];
    const seen = () =>
      [world.send, world.receive].map((pc) => pc.configurations.map((one) => one.iceServers));
    expect(seen()).toEqual([[world.server.iceServers], [world.server.iceServers]]);
    const before = world.server.iceServers;
    // The same ones again change nothing.
    world.server.socket.drop();
    await settle(500);
    expect(seen()).toEqual([[before], [before]]);
    world.server.iceServers = fresh;
    world.server.socket.drop();
    await settle(500);
    expect(seen()).toEqual([
      [before, fresh],
      [before, fresh],
    ]);
    expect(world.send.configurations.at(-1)?.bundlePolicy).toBe('max-bundle');
    world.send.become('failed');
    await settle();
    expect(world.send.restarts).toBe(1);
  });

  it('waits with the offer until signalling is back', async () => {
    const world = new World();
    await world.join();
    world.server.up = false;
    world.server.socket.drop();
    world.send.become('failed');
    await settle(1_500);
    // Made meanwhile, and too old when there is a socket.
    expect(world.send.restarts).toBe(1);
    world.server.up = true;
    await settle(2_000);
    expect(world.send.restarts).toBe(2);
    expect(world.server.socket.last('offer')?.transport).toBe('send');
  });
});
