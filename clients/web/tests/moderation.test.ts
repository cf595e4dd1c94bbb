import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { IncomingCall } from '../src/incomingCall.js';
import { participant } from './support/fakeSocket.js';
import { GROUP, settle, World } from './support/world.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const CAPABLE = { isPresent: true, reason: 'Capable' };
const RESTRICTED = { isPresent: false, reason: 'RoleRestricted' };
const capabilities = (more: Record<string, unknown> = {}) => ({
  type: 'capabilitiesChanged',
  callId: 'call-1',
  capabilities: {
    turnVideoOn: CAPABLE,
    unmuteMic: CAPABLE,
    shareScreen: CAPABLE,
    raiseHand: CAPABLE,
    muteOthers: RESTRICTED,
    ...more,
  },
});

describe('roles and moderation', () => {
  it('shows role and capabilities as the server says them', async () => {
    const world = new World();
    const { call } = await world.join();
    const heard: string[] = [];
    call.on('roleChanged', () => heard.push(call.role ?? 'none'));
    call.on('capabilitiesChanged', () => heard.push(String(call.capabilities?.muteOthers.reason)));
    world.server.socket.say({ type: 'roleChanged', callId: 'call-1', role: 'Attendee' });
    world.server.socket.say(capabilities());
    await settle();
    expect(heard).toEqual(['Attendee', 'RoleRestricted']);
  });

  it('stops what may not be sent any more, and publishes again once it may', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.socket.say(capabilities({ unmuteMic: RESTRICTED }));
    await settle();
    expect(call.isMuted).toBe(true);
    expect(world.server.socket.last('unpublish')?.clientId).toBe('microphone-1');
    world.server.socket.say(capabilities());
    await settle();
    void call.unmute();
    await settle();
    expect(world.server.socket.last('publish')?.track.clientId).toBe('microphone-2');
    expect(call.isMuted).toBe(false);
  });

  it('is muted by others, and says by whom', async () => {
    const world = new World();
    const { call } = await world.join();
    const by: (string | undefined)[] = [];
    call.on('mutedByOthers', (event) => by.push(event.by));
    world.server.socket.say({ type: 'mutedByOthers', callId: 'call-1', by: 'bob' });
    await settle();
    expect(by).toEqual(['bob']);
    expect(call.isMuted).toBe(true);
  });

  it('stays muted when it was muted while the connection was away', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.muteAll();
    world.server.socket.drop();
    await settle(5_000);
    expect(world.server.socket.last('resume')).toBeDefined();
    expect(call.isMuted).toBe(true);
    expect(world.server.socket.last('mute')?.muted).not.toBe(false);
  });

  it('keeps spotlight and hands, and names people by object or id', async () => {
    const world = new World();
    world.server.participants = [participant('bob')];
    const { call } = await world.join();
    const [bob] = call.remoteParticipants;
    world.server.socket.say({
      type: 'spotlightChanged',
      callId: 'call-1',
      participantIds: ['bob'],
    });
    world.server.socket.say({
      type: 'raisedHandsChanged',
      callId: 'call-1',
      participantIds: ['bob', 'me1'],
    });
    await settle();
    expect(call.spotlight.participantIds).toEqual(['bob']);
    expect(call.raisedHands.participantIds).toEqual(['bob', 'me1']);
    if (bob === undefined) throw new Error('bob is not there');
    void call.removeParticipant(bob).catch(() => undefined);
    void call.muteParticipants('bob').catch(() => undefined);
    await settle();
    expect(world.server.socket.last('removeParticipant')?.participantId).toBe('bob');
    expect(world.server.socket.last('muteParticipants')?.participantIds).toEqual(['bob']);
  });

  it('ends as the server says when the token has expired', async () => {
    const world = new World();
    const { call } = await world.join();
    const end = { code: 495, subCode: 4507, message: 'expired' };
    world.server.socket.say({ type: 'ended', callId: 'call-1', ...end });
    await settle();
    expect(call.state).toBe('Disconnected');
    expect(call.callEndReason).toEqual(end);
  });
});

describe('the lobby', () => {
  const inLobby = (requestId: number | undefined) => ({
    type: 'inLobby',
    requestId,
    callId: 'call-1',
    groupId: GROUP,
    participantId: 'me1',
    timeoutMs: 900_000,
  });

  async function waiting(world: World) {
    const agent = await world.agent();
    const { socket } = world.server;
    const { script } = socket;
    socket.script = (message) => {
      if (message.type === 'join') socket.say(inLobby(message.requestId));
      else script?.(message);
    };
    const call = agent.join({ groupId: GROUP });
    await settle();
    expect(call.state).toBe('InLobby');
    socket.script = script;
    return { call, socket };
  }

  it('waits in state InLobby and comes in with the answers to its first offers', async () => {
    const world = new World();
    const { call, socket } = await waiting(world);
    await settle(60_000);
    expect(call.state).toBe('InLobby');
    expect(world.send.remote).toEqual([]);
    socket.say({
      type: 'joined',
      callId: 'call-1',
      groupId: GROUP,
      participantId: 'me1',
      resumeToken: 'r',
      resumeGraceMs: 30_000,
      send: { sdp: 'answer-send' },
      receive: { sdp: 'answer-receive' },
      version: 1,
      participants: [participant('me1')],
      slots: [],
    });
    await settle();
    expect(call.state).toBe('Connected');
    expect(world.send.remote).toEqual(['answer-send']);
    expect(socket.sent.filter((message) => message.type === 'join')).toHaveLength(1);
  });

  it('ends with the reason when it is turned away, and leaves when it hangs up', async () => {
    const world = new World();
    const { call, socket } = await waiting(world);
    const reason = { code: 403, subCode: 70005, message: 'turned away' };
    socket.say({ type: 'ended', callId: 'call-1', ...reason });
    await settle();
    expect(call.callEndReason).toEqual(reason);
    const other = new World();
    const left = await waiting(other);
    void left.call.hangUp();
    await settle();
    expect(left.socket.last('leave')?.callId).toBe('call-1');
    expect(left.call.state).toBe('Disconnected');
  });

  it('shows who waits, admits and rejects', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.socket.say({
      type: 'lobbyParticipantsUpdated',
      callId: 'call-1',
      participants: [{ participantId: 'p9', identity: 'carol', displayName: 'Carol' }],
    });
    await settle();
    expect(call.lobby.participants.map((one) => one.displayName)).toEqual(['Carol']);
    void call.lobby.admit('p9').catch(() => undefined);
    void call.lobby.reject('p9').catch(() => undefined);
    await settle();
    expect(world.server.socket.last('admit')?.participantIds).toEqual(['p9']);
    expect(world.server.socket.last('reject')?.participantIds).toEqual(['p9']);
    void call.lobby.admitAll().catch(() => undefined);
    await settle();
    expect(world.server.socket.last('admit')?.participantIds).toBeUndefined();
  });
});

describe('ringing', () => {
  const incoming = {
    type: 'incomingCall',
    incomingCallId: 'i1',
    groupId: GROUP,
    from: 'alice',
    displayName: 'Alice',
    customContext: 'order 17',
    timeoutMs: 30_000,
  };

  async function rung(world: World) {
    const agent = await world.agent();
    const calls: IncomingCall[] = [];
    agent.on('incomingCall', ({ incomingCall }) => calls.push(incomingCall));
    world.server.socket.say(incoming);
    await settle();
    const [call] = calls;
    if (call === undefined) throw new Error('nothing rings');
    return { agent, call };
  }

  it('calls identities', async () => {
    const world = new World();
    const agent = await world.agent();
    agent.startCall(['bob'], { customContext: 'order 17', ringTimeoutMs: 10_000 });
    await settle();
    const start = world.server.socket.last('startCall');
    expect(start?.targets).toEqual(['bob']);
    expect(start?.customContext).toBe('order 17');
    expect(start?.timeoutMs).toBe(10_000);
    expect(start?.send?.sdp).toBe(world.send.localDescription?.sdp);
  });

  it('is called, and accepts with offers', async () => {
    const world = new World();
    const { agent, call } = await rung(world);
    expect(call.callerInfo.displayName).toBe('Alice');
    expect(call.customContext).toBe('order 17');
    call.accept();
    await settle();
    expect(agent.calls).toHaveLength(1);
    expect(world.server.socket.last('acceptCall')?.incomingCallId).toBe('i1');
    expect(call.isRinging).toBe(false);
    expect(() => call.accept()).toThrow('does not ring');
  });

  it('rejects, and hears why it rings no more', async () => {
    const world = new World();
    const { call } = await rung(world);
    void call.reject({ busy: true }).catch(() => undefined);
    await settle();
    expect(world.server.socket.last('rejectCall')?.busy).toBe(true);
    const other = new World();
    const second = await rung(other);
    const ends: number[] = [];
    second.call.on('callEnded', ({ callEndReason }) => ends.push(callEndReason.subCode));
    const end = { code: 487, subCode: 10003, message: 'elsewhere' };
    other.server.socket.say({ type: 'incomingCallEnded', incomingCallId: 'i1', ...end });
    await settle();
    expect(ends).toEqual([10003]);
    expect(second.call.isRinging).toBe(false);
  });
});
