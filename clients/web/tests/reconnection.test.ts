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

  it('restarts both when nothing comes in any more', async () => {
    const world = new World();
    await world.join();
    const [receiver] = world.receive.getReceivers();
    for (let at = 1; at < 10; at += 1) {
      if (receiver !== undefined) receiver.played = at;
      await settle(50);
    }
    expect(world.receive.restarts).toBe(0);
    await settle(700);
    expect([world.send.restarts, world.receive.restarts]).toEqual([1, 1]);
    expect(world.server.socket.last('ping')).toBeDefined();
    // A socket that answered is kept.
    await settle(500);
    expect(world.server.joins).toBe(1);
    expect(world.server.socket.last('resume')).toBeUndefined();
  });

  it('restarts at once on the next socket when the present one takes no offer any more', async () => {
    const world = new World();
    await world.join();
    world.server.silent = true;
    world.send.become('failed');
    await settle(100);
    expect(world.send.restarts).toBe(1);
    world.server.silent = false;
    world.server.socket.drop();
    await settle(300);
    expect(world.server.socket.last('resume')).toBeDefined();
    expect(world.send.restarts).toBe(2);
    expect(world.server.socket.last('offer')?.sdp).toBe(world.send.localDescription?.sdp);
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
    await settle(500);
    expect(world.send.restarts).toBe(0);
    world.server.up = true;
    await settle(2_000);
    expect(world.send.restarts).toBe(1);
    expect(world.server.socket.last('offer')?.transport).toBe('send');
  });
});
