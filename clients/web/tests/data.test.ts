import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DataMessage } from '../src/data/callData.js';
import { decodeFrame, encodeFrame, fromBase64, toBase64 } from '../src/data/frames.js';
import { participant } from './support/fakeSocket.js';
import { settle, World } from './support/world.js';

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (hex: string) =>
  Uint8Array.from(hex.match(/../g) ?? [], (b) => Number.parseInt(b, 16));

describe('frames', () => {
  it('are laid out as the protocol says', () => {
    const topic = new TextEncoder().encode('chat');
    const hello = new TextEncoder().encode('hello');
    expect(encodeFrame([0x7f3a01c2], topic, hello)).toEqual(
      bytes('01017f3a01c2046368617468656c6c6f'),
    );
    const received = decodeFrame(bytes('017f3a01c2046368617468656c6c6f').buffer);
    expect(received).toMatchObject({ csrc: 0x7f3a01c2, topic: 'chat' });
    expect(text(received?.payload ?? new Uint8Array())).toBe('hello');
  });

  it('may have neither topic nor payload', () => {
    expect(encodeFrame([], new Uint8Array(), new Uint8Array())).toEqual(bytes('010000'));
    expect(decodeFrame(bytes('01ffffffff00').buffer)).toEqual({
      csrc: 0xffffffff,
      topic: undefined,
      payload: new Uint8Array(),
    });
  });

  it.each(['', '01', '0100000001', '0200000001000', '01000000010541'])('%j is malformed', (hex) => {
    expect(decodeFrame(bytes(hex).buffer)).toBeUndefined();
  });

  it('survive base64', () => {
    const all = Uint8Array.from({ length: 256 }, (_, index) => index);
    expect(fromBase64(toBase64(all))).toEqual(all);
    expect(fromBase64('*')).toBeUndefined();
  });
});

describe('data messages', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  async function inCall(open: boolean) {
    const world = new World();
    const bob = participant('bob', { csrc: 77 });
    world.server.participants = [bob, participant('carol', { csrc: 88 })];
    const { call } = await world.join(true);
    const [durable, lossy] = world.send.channels;
    if (durable === undefined || lossy === undefined) throw new Error('no channels');
    if (open) durable.readyState = lossy.readyState = 'open';
    const got: DataMessage[] = [];
    call.data.on('message', (message) => got.push(message));
    const overSocket = () => world.server.socket.sent.filter((m) => String(m.type) === 'data');
    return { world, call, durable, lossy, got, overSocket };
  }

  it('have two channels in the first offer, made for what they carry', async () => {
    const { durable, lossy } = await inCall(false);
    expect([durable.label, durable.init]).toEqual(['durable', { ordered: true }]);
    expect([lossy.label, lossy.init]).toEqual(['lossy', { ordered: false, maxRetransmits: 0 }]);
    expect(durable.binaryType).toBe('arraybuffer');
  });

  it('go over the channel where it is open', async () => {
    const { call, durable, lossy, overSocket } = await inCall(true);
    await call.data.send('hello', { to: ['bob'], topic: 'chat' });
    await call.data.send(new Uint8Array([9]), { reliability: 'Lossy' });
    expect(durable.sent).toEqual([bytes('01010000004d046368617468656c6c6f')]);
    expect(lossy.sent).toEqual([bytes('01000009')]);
    expect(overSocket()).toEqual([]);
  });

  it('go over the WebSocket where it is not, one after the other', async () => {
    const { call, overSocket } = await inCall(false);
    const sent = Promise.all(['a', 'b'].map((each) => call.data.send(each, { to: ['bob'] })));
    await settle(10);
    expect(overSocket()).toHaveLength(1);
    await settle(100);
    await sent;
    expect(overSocket()[0]).toMatchObject({
      callId: 'call-1',
      to: ['bob'],
      reliability: 'durable',
      payload: 'YQ==',
    });
    expect(overSocket()[0]).not.toHaveProperty('topic');
    expect(overSocket()).toHaveLength(2);
  });

  it('come from both ways', async () => {
    const { world, got, lossy } = await inCall(true);
    lossy.onmessage?.({ data: bytes('010000004d0161ff').buffer });
    lossy.onmessage?.({ data: bytes('0100000001026161ff').buffer });
    lossy.onmessage?.({ data: 'text' });
    const said = { callId: 'call-1', from: 'carol', reliability: 'durable', payload: 'aGk=' };
    world.server.socket.say({ type: 'data', ...said });
    await settle();
    expect(got).toEqual([
      { from: 'bob', reliability: 'Lossy', topic: 'a', payload: bytes('ff') },
      { from: 'carol', reliability: 'Durable', topic: undefined, payload: bytes('6869') },
    ]);
  });

  it('wait while the channel is full, up to a bound', async () => {
    const { call, durable } = await inCall(true);
    const big = new Uint8Array(16_384);
    const sends = Array.from({ length: 80 }, () => call.data.send(big));
    const refused = expect(Promise.all([...sends, call.data.send(big)])).rejects.toMatchObject({
      code: 'dataQueueFull',
    });
    await settle();
    await refused;
    expect(durable.sent.length).toBeLessThan(20);
    for (let turn = 0; turn < 10; turn += 1) {
      durable.drain();
      await settle();
    }
    const settled = await Promise.allSettled(sends);
    const taken = settled.filter(({ status }) => status === 'fulfilled').length;
    expect(durable.sent).toHaveLength(taken);
    expect(taken).toBeGreaterThanOrEqual(64);
  });

  it('are dropped and counted where they are lossy and there is no room', async () => {
    const { call, lossy } = await inCall(true);
    for (let n = 0; n < 10; n += 1) {
      await call.data.send(new Uint8Array(16_000), { reliability: 'Lossy' });
    }
    expect(lossy.sent.length + call.data.dropped).toBe(10);
    expect(call.data.dropped).toBeGreaterThan(0);
  });

  it.each([
    ['payload', new Uint8Array(16_385), {}],
    ['topic', 'x', { topic: 'é'.repeat(33) }],
    ['list of recipients', 'x', { to: Array.from({ length: 256 }, (_, n) => `p${n}`) }],
  ])('are refused with too long a %s', async (what, payload, options) => {
    const { call } = await inCall(true);
    await expect(call.data.send(payload, options)).rejects.toMatchObject({
      code: 'dataTooBig',
      message: expect.stringContaining(what),
    });
  });

  it('go to nobody rather than to everyone when those named have left', async () => {
    const { call, durable, overSocket } = await inCall(true);
    await call.data.send('secret', { to: ['dave'] });
    await call.data.send('secret', { to: [] });
    expect(durable.sent).toEqual([]);
    expect(overSocket()).toEqual([]);
  });

  it('take the WebSocket while a channel that the server closed is away', async () => {
    const { world, call, durable, got, overSocket } = await inCall(true);
    const reasons: string[] = [];
    call.data.on('interrupted', ({ reason }) => reasons.push(reason));
    world.server.socket.say({
      type: 'dataClosed',
      callId: 'call-1',
      reliability: 'durable',
      reason: 'tooFast',
      retryAfterMs: 350,
    });
    await settle();
    expect(reasons).toEqual(['tooFast']);
    durable.onmessage?.({ data: bytes('010000004d00ff').buffer });
    expect(got).toEqual([]);
    await Promise.all([call.data.send('x'), settle(100)]);
    expect(overSocket()).toHaveLength(1);
    await settle(400);
    const again = world.send.channels[2];
    expect(again?.label).toBe('durable');
    if (again) again.readyState = 'open';
    await call.data.send('y');
    expect(again?.sent).toHaveLength(1);
  });

  it('are tried again when the server is busy, and fail without a connection', async () => {
    const { world, call, overSocket } = await inCall(false);
    world.server.refuse = { data: 'busy' } as never;
    const sent = call.data.send('x');
    await settle(100);
    world.server.refuse = {};
    await settle(2_000);
    await sent;
    expect(overSocket().length).toBeGreaterThan(1);
    world.server.up = false;
    world.server.socket.drop();
    await settle();
    await expect(call.data.send('y')).rejects.toMatchObject({ code: 'notConnected' });
  });
});
