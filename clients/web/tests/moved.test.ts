import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { participant } from './support/fakeSocket.js';
import { settle, World } from './support/world.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const OTHER = '0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d';
const MOVED = { type: 'moved', callId: 'call-1', groupId: OTHER, timeoutMs: 20_000 };

it('goes into the other call with the same tracks, and stays one object', async () => {
  const world = new World();
  const { agent, call } = await world.join();
  const [before, track] = [world.send, world.send.transceivers[0]?.sender.track];
  const heard: string[] = [];
  call.on('idChanged', () => heard.push('idChanged'));
  call.on('moved', ({ fromCallId }) => heard.push(`from ${fromCallId} to ${call.id}`));
  call.on('stateChanged', () => heard.push(call.state));
  world.server.callId = 'call-2';
  world.server.participants = [participant('bob')];
  world.server.socket.say(MOVED);
  // Said twice, done once.
  world.server.socket.say(MOVED);
  await settle();
  const join = world.server.socket.last('join');
  expect(join?.groupId).toBe(OTHER);
  expect(join?.tracks?.map((one) => one.source)).toEqual(['microphone']);
  expect(world.server.joins).toBe(2);
  expect(heard).toEqual(['idChanged', 'from call-1 to call-2']);
  expect(before.signalingState).toBe('closed');
  expect(world.send.transceivers[0]?.sender.track).toBe(track);
  expect(track?.readyState).toBe('live');
  expect(call.remoteParticipants.map((one) => one.displayName)).toEqual(['bob']);
  expect(agent.calls).toEqual([call]);
  expect(world.server.socket.last('leave')).toBeUndefined();
  // What comes of the old call is not of this one.
  world.server.socket.say({
    type: 'ended',
    callId: 'call-1',
    code: 0,
    subCode: 70006,
    message: '',
  });
  await settle();
  expect(call.state).toBe('Connected');
});

it('stays where it is when the other call cannot be joined', async () => {
  const world = new World();
  const { call } = await world.join();
  const before = world.send;
  const [moved, failed] = [vi.fn(), vi.fn()];
  call.on('moved', moved);
  call.on('moveFailed', ({ groupId, error }) => failed(groupId, error.code));
  world.server.refuse.join = 'removedFromCall';
  world.server.socket.say(MOVED);
  await settle();
  expect([call.state, call.connectionState, call.id]).toEqual(['Connected', 'Connected', 'call-1']);
  expect(moved).not.toHaveBeenCalled();
  expect(failed.mock.calls).toEqual([[OTHER, 'removedFromCall']]);
  expect(before.signalingState).toBe('stable');
  expect(world.send.signalingState).toBe('closed');
  // What is switched from now on goes over the old transport.
  await Promise.all([call.mute(), settle()]);
  expect(world.server.socket.last('mute')?.callId).toBe('call-1');
});

it('says nothing of a move whose connection was lost: the server will say it again', async () => {
  const world = new World();
  const { call } = await world.join();
  const [moved, failed] = [vi.fn(), vi.fn()];
  call.on('moved', moved);
  call.on('moveFailed', failed);
  world.server.silent = true;
  world.server.socket.say(MOVED);
  await settle();
  world.server.silent = false;
  world.server.socket.drop();
  await settle(5_000);
  expect(failed).not.toHaveBeenCalled();
  expect([call.state, call.connectionState, call.id]).toEqual(['Connected', 'Connected', 'call-1']);
  world.server.callId = 'call-2';
  world.server.socket.say(MOVED);
  await settle();
  expect(moved).toHaveBeenCalledTimes(1);
  expect(call.id).toBe('call-2');
});

it('leaves the other call when it hung up on the way', async () => {
  const world = new World();
  const { call } = await world.join();
  world.server.silent = true;
  world.server.socket.say(MOVED);
  await settle();
  const requestId = world.server.socket.last('join')?.requestId;
  const hungUp = call.hangUp();
  world.server.socket.say({ type: 'joined', requestId, callId: 'call-2' });
  await settle(3_000);
  await hungUp;
  expect(world.server.socket.last('leave')?.callId).toBe('call-2');
  expect(call.state).toBe('Disconnected');
});
