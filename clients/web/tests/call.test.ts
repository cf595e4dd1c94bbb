import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LocalVideoStream } from '../src/local/localVideoStream.js';
import type { RemoteParticipant } from '../src/remote/remoteParticipant.js';
import { FakeStream, FakeTrack } from './support/fakeMedia.js';
import { participant } from './support/fakeSocket.js';
import { GROUP, settle, World } from './support/world.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const camera = { trackId: 'Tcam', clientId: 'camera-1', source: 'camera' as const, muted: false };

function video(index: number, trackId: string, state = 'active') {
  return { mid: String(index + 2), kind: 'video', index, participantId: 'bob', trackId, state };
}

function ownCamera(): LocalVideoStream {
  return new LocalVideoStream(new FakeStream([new FakeTrack('video')]) as unknown as MediaStream);
}

describe('joining', () => {
  it('offers both transports in one message, with the microphone if it is open in time', async () => {
    const world = new World();
    const { call } = await world.join();
    const join = world.server.socket.last('join');
    expect(join?.groupId).toBe(GROUP);
    expect(join?.send?.sdp).toBe(world.send.localDescription?.sdp);
    expect(join?.receive?.sdp).toBe(world.receive.localDescription?.sdp);
    expect(join?.tracks).toEqual([
      { clientId: 'microphone-1', source: 'microphone', mid: '0', muted: false },
    ]);
    expect(world.send.remote).toEqual(['answer-send']);
    expect(world.receive.remote).toEqual(['answer-receive']);
    expect(call.state).toBe('Connected');
    expect(call.connectionState).toBe('Connected');
    expect(call.id).toBe('call-1');
  });

  it('has fixed m-lines: four to send, and the slots that the server wants', async () => {
    const world = new World();
    await world.join();
    expect(world.send.transceivers.map((t) => `${t.kind} ${t.direction}`)).toEqual([
      'audio sendonly',
      'video sendonly',
      'video sendonly',
      'audio sendonly',
    ]);
    expect(world.receive.transceivers.map((t) => `${t.kind} ${t.direction}`)).toEqual([
      'audio recvonly',
      'audio recvonly',
      'video recvonly',
      'video recvonly',
      'video recvonly',
    ]);
  });

  it.each([
    ['callNotFound', 404],
    ['tokenWrongCall', 403],
    ['draining', 503],
    ['limitExceeded', 486],
  ])('ends with %s as code %i', async (code, status) => {
    const world = new World();
    world.server.refuse.join = code;
    const { agent, call } = await world.join();
    expect(call.state).toBe('Disconnected');
    expect(call.callEndReason?.code).toBe(status);
    expect(call.error?.code).toBe(code);
    expect(agent.calls).toEqual([]);
    expect(world.send.signalingState).toBe('closed');
    expect(world.devices.opened.every((track) => track.readyState === 'ended')).toBe(true);
  });

  it('joins without a microphone, and says so', async () => {
    const world = new World();
    world.devices.fail.audio = 'NotAllowedError';
    const agent = await world.agent();
    const call = agent.join({ groupId: GROUP });
    const failures: string[] = [];
    call.on('microphoneFailed', (error) => failures.push(error.code));
    await settle();
    expect(call.state).toBe('Connected');
    expect(call.isMuted).toBe(true);
    expect(failures).toEqual(['microphoneDenied']);
    await expect(call.unmute()).rejects.toMatchObject({ code: 'microphoneDenied' });
  });

  it('opens no microphone when it joins muted', async () => {
    const world = new World();
    const { call } = await world.join(true);
    expect(world.devices.opened).toEqual([]);
    expect(call.isMuted).toBe(true);
    await Promise.all([call.unmute(), settle()]);
    expect(call.isMuted).toBe(false);
    expect(world.server.socket.last('publish')?.track.source).toBe('microphone');
  });

  it('leaves at once when it hung up while joining', async () => {
    const world = new World();
    const agent = await world.agent();
    world.server.silent = true;
    const call = agent.join({ groupId: GROUP });
    await settle();
    await call.hangUp();
    expect(call.state).toBe('Disconnected');
    world.server.silent = false;
    const requestId = world.server.socket.last('join')?.requestId;
    world.server.socket.say({ type: 'joined', requestId, callId: 'call-9' });
    await settle();
    expect(world.server.socket.last('leave')?.callId).toBe('call-9');
  });
});

describe('local media', () => {
  it('mutes by the track and by a message, and never renegotiates', async () => {
    const world = new World();
    const { call } = await world.join();
    const track = world.devices.opened[0];
    await Promise.all([call.mute(), settle()]);
    expect(track?.enabled).toBe(false);
    expect(call.isMuted).toBe(true);
    expect(world.server.socket.last('mute')).toMatchObject({
      callId: 'call-1',
      clientId: 'microphone-1',
      muted: true,
    });
    await Promise.all([call.unmute(), settle()]);
    expect(track?.enabled).toBe(true);
    expect(world.server.socket.last('mute')?.muted).toBe(false);
    expect(world.server.socket.last('offer')).toBeUndefined();
  });

  it('starts and stops the camera by replacing a track', async () => {
    const world = new World();
    const { call } = await world.join(true);
    const stream = ownCamera();
    await Promise.all([call.startVideo(stream), settle()]);
    const sender = world.send.transceivers[1]?.sender;
    expect(sender?.track).toBe(stream.mediaStream?.getVideoTracks()[0]);
    expect(world.server.socket.last('publish')?.track).toMatchObject({
      source: 'camera',
      mid: '1',
      encodings: [
        { rid: 'q', width: 320, height: 180, maxBitrate: 150_000 },
        { rid: 'h', width: 640, height: 360, maxBitrate: 500_000 },
      ],
    });
    expect(sender?.parameters.encodings.map(({ active }) => active)).toEqual([true, true, false]);
    expect(call.localVideoStreams).toEqual([stream]);
    await Promise.all([call.stopVideo(stream), settle()]);
    expect(sender?.track).toBeNull();
    expect(world.server.socket.last('unpublish')?.clientId).toBe('camera-1');
    expect(world.server.socket.last('offer')).toBeUndefined();
  });

  it('takes back a camera that the server refuses', async () => {
    const world = new World();
    const { call } = await world.join(true);
    world.server.refuse.publish = 'notAllowed';
    const attempt = expect(call.startVideo(ownCamera())).rejects.toMatchObject({
      code: 'notAllowed',
    });
    await settle();
    await attempt;
    expect(call.localVideoStreams).toEqual([]);
    expect(world.send.transceivers[1]?.sender.track).toBeNull();
  });

  it('shares the screen with its sound until the browser ends it', async () => {
    const world = new World();
    const { call } = await world.join(true);
    await Promise.all([call.startScreenSharing(), settle()]);
    expect(call.isScreenSharingOn).toBe(true);
    const published = world.server.socket.sent.filter((message) => message.type === 'publish');
    expect(published.map((message) => message.track.mid).sort()).toEqual(['2', '3']);
    const picture = world.devices.opened.find((track) => track.kind === 'video');
    expect(picture?.contentHint).toBe('detail');
    picture?.unplug();
    await settle();
    expect(call.isScreenSharingOn).toBe(false);
    expect(world.server.socket.sent.filter((m) => m.type === 'unpublish')).toHaveLength(2);
  });

  it('goes on with another microphone when one is unplugged', async () => {
    const world = new World();
    const { call } = await world.join();
    world.devices.opened[0]?.unplug();
    await settle();
    expect(world.devices.opened).toHaveLength(2);
    expect(world.send.transceivers[0]?.sender.track).toBe(world.devices.opened[1]);
    expect(call.isMuted).toBe(false);
    expect(world.server.socket.last('unpublish')).toBeUndefined();
  });
});

describe('remote participants', () => {
  async function withBob() {
    const world = new World();
    world.server.participants = [participant('bob', { tracks: [camera] })];
    const { call } = await world.join(true);
    const bob = call.remoteParticipants[0] as RemoteParticipant;
    return { world, call, bob };
  }

  it('shows those of the snapshot, without ourselves', async () => {
    const { call, bob } = await withBob();
    expect(call.remoteParticipants).toHaveLength(1);
    expect(bob.displayName).toBe('bob');
    expect(bob.identifier.communicationUserId).toBe('8:bob');
    expect(bob.isMuted).toBe(true);
    expect(bob.videoStreams[0]?.mediaStreamType).toBe('Video');
    expect(bob.videoStreams[0]?.isAvailable).toBe(true);
  });

  it('comes and goes with events', async () => {
    const { world, call, bob } = await withBob();
    const log: string[] = [];
    call.on('remoteParticipantsUpdated', ({ added, removed }) => {
      for (const p of added) log.push(`+${p.displayName}`);
      for (const p of removed) log.push(`-${p.displayName} ${p.state}`);
    });
    world.server.change({ type: 'participantJoined', participant: participant('carol') });
    world.server.change({ type: 'participantLeft', participantId: 'bob', reason: {} });
    await settle();
    expect(log).toEqual(['+carol', '-bob Disconnected']);
    expect(bob.videoStreams[0]?.isAvailable).toBe(false);
  });

  it('tells of mute, camera and connection', async () => {
    const { world, bob } = await withBob();
    const log: string[] = [];
    bob.on('isMutedChanged', () => log.push(`muted ${bob.isMuted}`));
    bob.on('stateChanged', () => log.push(bob.state));
    const stream = bob.videoStreams[0];
    stream?.on('isAvailableChanged', () => log.push(`camera ${stream.isAvailable}`));
    const microphone = { ...camera, trackId: 'Tmic', source: 'microphone', clientId: 'm' };
    world.server.change({ type: 'trackPublished', participantId: 'bob', track: microphone });
    world.server.change({
      type: 'trackUpdated',
      participantId: 'bob',
      track: { ...microphone, muted: true },
    });
    world.server.change({ type: 'trackUnpublished', participantId: 'bob', trackId: 'Tcam' });
    world.server.change({
      type: 'participantUpdated',
      participantId: 'bob',
      connection: 'reconnecting',
    });
    await settle();
    expect(log).toEqual(['muted false', 'muted true', 'camera false', 'Reconnecting']);
    expect(bob.videoStreams[0]).toBe(stream);
  });

  it('tells who has the floor', async () => {
    const { world, call } = await withBob();
    const log: (string | undefined)[] = [];
    call.on('dominantSpeakerChanged', () => log.push(call.dominantSpeaker));
    world.server.change({ type: 'speakers', dominant: 'bob', speaking: ['bob'] });
    world.server.change({ type: 'speakers', dominant: 'bob', speaking: [] });
    world.server.change({ type: 'speakers', speaking: [] });
    await settle();
    expect(log).toEqual(['bob', undefined]);
  });

  it('follows a stream from slot to slot', async () => {
    const { world, bob } = await withBob();
    const stream = bob.videoStreams[0];
    const mids: (string | undefined)[] = [];
    stream?.on('attachmentChanged', (attachment) => mids.push(attachment?.mid));
    world.server.change({ type: 'slots', slots: [video(0, 'Tcam', 'waiting')] });
    await settle();
    expect(stream?.isReceiving).toBe(false);
    world.server.change({ type: 'slots', slots: [video(0, 'Tcam')] });
    await settle();
    expect(stream?.isReceiving).toBe(true);
    expect(stream?.attachment?.receiver).toBe(world.receive.transceivers[2]?.receiver);
    const empty = { mid: '2', kind: 'video', index: 0, state: 'empty' };
    world.server.change({ type: 'slots', slots: [empty, video(2, 'Tcam')] });
    world.server.change({ type: 'slots', slots: [video(2, 'Tcam', 'paused')] });
    await settle();
    expect(mids).toEqual(['2', '2', '4', undefined]);
    expect(stream?.slotState).toBe('paused');
  });

  it('sends a view by slot, and anew when a stream is published anew', async () => {
    const { world, call, bob } = await withBob();
    const stream = bob.videoStreams[0];
    if (stream === undefined) throw new Error('no stream');
    await Promise.all([
      call.setView([{ stream, width: 640.4, height: 360, priority: 1 }]),
      settle(),
    ]);
    const wish = { mid: '2', width: 640, height: 360, priority: 1 };
    expect(world.server.socket.last('view')?.slots).toEqual([{ ...wish, trackId: 'Tcam' }]);
    world.server.change({ type: 'trackUnpublished', participantId: 'bob', trackId: 'Tcam' });
    const again = { ...camera, trackId: 'Tcam2' };
    world.server.change({ type: 'trackPublished', participantId: 'bob', track: again });
    await settle();
    expect(world.server.socket.last('view')?.slots).toEqual([{ ...wish, trackId: 'Tcam2' }]);
    await Promise.all([call.setView(null), settle()]);
    expect(world.server.socket.last('view')?.slots).toBeUndefined();
  });
});

describe('the end', () => {
  it('hangs up', async () => {
    const world = new World();
    const { agent, call } = await world.join();
    const states: string[] = [];
    call.on('stateChanged', () => states.push(call.state));
    await Promise.all([call.hangUp(), settle()]);
    expect(states).toEqual(['Disconnecting', 'Disconnected']);
    expect(call.callEndReason).toMatchObject({ code: 0, subCode: 0 });
    expect(world.server.socket.last('leave')?.callId).toBe('call-1');
    expect(world.devices.opened[0]?.readyState).toBe('ended');
    expect(agent.connectionState).toBe('Connected');
  });

  it('does not wait for a server that is gone', async () => {
    const world = new World();
    const { call } = await world.join();
    world.server.silent = true;
    const done = call.hangUp();
    await settle(2_100);
    await done;
    expect(call.state).toBe('Disconnected');
  });

  it.each([
    [0, 5300],
    [503, 70001],
    [408, 10057],
  ])('ends when the server says so: %i/%i', async (code, subCode) => {
    const world = new World();
    const { call } = await world.join();
    world.server.socket.say({ type: 'ended', callId: 'call-1', code, subCode, message: 'why' });
    await settle();
    expect(call.state).toBe('Disconnected');
    expect(call.callEndReason).toEqual({ code, subCode, message: 'why' });
  });
});

describe('demand', () => {
  async function publishing() {
    const world = new World();
    const { call } = await world.join(true);
    await Promise.all([call.startVideo(ownCamera()), settle()]);
    const say = async (clientId: string, ...active: boolean[]) => {
      world.server.socket.say({
        type: 'demand',
        callId: 'call-1',
        clientId,
        encodings: active.map((each, index) => ({ rid: ['q', 'h', 'f'][index], active: each })),
      });
      await settle();
    };
    const active = () =>
      world.send.transceivers[1]?.sender.parameters.encodings.map((encoding) => encoding.active);
    return { world, call, say, active };
  }

  it('switches encodings off and on', async () => {
    const { say, active } = await publishing();
    expect(active()).toEqual([true, true, false]);
    await say('camera-1', false, false);
    expect(active()).toEqual([false, false, false]);
    await say('camera-1', false, true);
    expect(active()).toEqual([false, true, false]);
  });

  it('is void for a track that is published anew', async () => {
    const { call, say, active } = await publishing();
    await say('camera-1', true, false);
    const stream = call.localVideoStreams[0] as LocalVideoStream;
    await Promise.all([call.stopVideo(stream), settle()]);
    await say('camera-1', false, false);
    await Promise.all([call.startVideo(ownCamera()), settle()]);
    expect(active()).toEqual([true, true, false]);
  });

  it('survives a resume, and is void for another participant', async () => {
    const { world, say, active } = await publishing();
    await say('camera-1', true, false);
    world.server.socket.drop();
    await settle(1_000);
    expect(active()).toEqual([true, false, false]);
    world.server.resumable = false;
    world.server.socket.drop();
    await settle(3_000);
    expect(world.server.joins).toBe(2);
    expect(active()).toEqual([true, true, false]);
  });
});
