import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { settle, World } from './support/world.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the agent', () => {
  it('says hello with the token, and never puts it into the URL', async () => {
    const world = new World();
    const agent = await world.agent('secret');
    expect(world.server.socket.sent[0]).toMatchObject({
      type: 'hello',
      protocol: 1,
      token: 'secret',
      userAgent: expect.stringContaining('convoke-web/'),
    });
    expect(agent.connectionState).toBe('Connected');
    expect(agent.displayName).toBe('Me');
  });

  it.each(['tokenExpired', 'tokenInvalid', 'protocolVersion', 'busy'] as const)(
    'rejects the first connection with %s',
    async (code) => {
      const world = new World();
      world.server.refuse.hello = code;
      const attempt = world.agent();
      await expect(attempt).rejects.toMatchObject({ name: 'ConvokeError', code });
      expect(world.server.socket.closedByClient).toBe(true);
    },
  );

  it('rejects when the server cannot be reached, or does not answer', async () => {
    const world = new World();
    world.server.up = false;
    await expect(world.agent()).rejects.toMatchObject({ code: 'connectionFailed' });
    world.server.up = true;
    world.server.silent = true;
    const attempt = expect(world.agent()).rejects.toMatchObject({ code: 'requestTimeout' });
    await settle(20_000);
    await attempt;
  });

  it('pings at the interval that the server gave, and takes silence for death', async () => {
    const world = new World();
    const agent = await world.agent();
    const first = world.server.socket;
    await settle(10_000);
    expect(first.last('ping')).toBeDefined();
    expect(agent.connectionState).toBe('Connected');
    world.server.silent = true;
    await settle(10_000);
    world.server.silent = false;
    expect(agent.connectionState).toBe('Connected');
    await settle(5_000);
    expect(first.closedByClient).toBe(true);
    await settle(1_000);
    expect(world.server.sockets).toHaveLength(2);
    expect(agent.connectionState).toBe('Connected');
  });

  it('backs off while the server is away, and gives up in the end', async () => {
    const world = new World();
    const agent = await world.agent();
    const states: string[] = [];
    agent.on('connectionStateChanged', () => states.push(agent.connectionState));
    world.server.up = false;
    world.server.socket.drop();
    await settle(900);
    // Half of 100, 200, 400 and 800 ms: attempts at 50, 150, 350 and 750 ms.
    expect(world.server.sockets).toHaveLength(5);
    await settle(25_000);
    expect(states).toEqual(['Reconnecting', 'Disconnected']);
    const attempts = world.server.sockets.length;
    expect(attempts).toBeLessThan(60);
    await settle(60_000);
    expect(world.server.sockets).toHaveLength(attempts);
  });

  it('does not wait when the network comes back', async () => {
    const world = new World();
    await world.agent();
    world.server.up = false;
    world.server.socket.drop();
    await settle(2_900);
    const before = world.server.sockets.length;
    for (const listener of world.networkListeners) listener();
    await settle(1);
    expect(world.server.sockets.length).toBe(before + 1);
  });

  it('tries often again where a network that came back does not work at once', async () => {
    const world = new World();
    await world.agent();
    world.server.up = false;
    world.server.socket.drop();
    await settle(8_000);
    for (const listener of world.networkListeners) listener();
    const before = world.server.sockets.length;
    // At once, and after halves of 100, 200, 400 and 800 ms; before the pauses had grown to half a second.
    await settle(800);
    expect(world.server.sockets.length - before).toBe(5);
  });

  it('gives up at once when the token has become bad', async () => {
    const world = new World();
    const agent = await world.agent();
    world.server.refuse.hello = 'tokenExpired';
    world.server.socket.drop();
    await settle(1_000);
    expect(agent.connectionState).toBe('Disconnected');
    expect(world.server.sockets).toHaveLength(2);
  });

  it('does not fight over a participant that was taken over by another socket', async () => {
    const world = new World();
    const agent = await world.agent();
    world.server.socket.drop(4409);
    await settle(1_000);
    expect(agent.connectionState).toBe('Disconnected');
    expect(world.server.sockets).toHaveLength(1);
  });

  it('asks for a new token before the old one expires', async () => {
    vi.setSystemTime(4_000_000_000_000 - 100_000);
    const world = new World();
    let tokens = 0;
    await world.agent({ getToken: async () => ({ token: `token-${++tokens}` }) });
    await settle(79_000);
    expect(tokens).toBe(1);
    await settle(2_000);
    expect(world.server.socket.last('hello')).toMatchObject({ token: 'token-2' });
  });

  it('says hello with the token that it has, and asks for another only if that is refused', async () => {
    const world = new World();
    let tokens = 0;
    const agent = await world.agent({ getToken: async () => ({ token: `token-${++tokens}` }) });
    world.server.socket.drop();
    await settle(1_000);
    expect(tokens).toBe(1);
    expect(world.server.sockets).toHaveLength(2);
    world.server.good = (token) => token !== 'token-1';
    world.server.socket.drop();
    await settle(1_000);
    expect(tokens).toBe(2);
    expect(world.server.sockets).toHaveLength(3);
    expect(agent.connectionState).toBe('Connected');
  });

  it('passes over messages that it does not understand', async () => {
    const world = new World();
    const agent = await world.agent();
    world.server.socket.onmessage?.({ data: 'not json' } as MessageEvent);
    world.server.socket.onmessage?.({ data: '[]' } as MessageEvent);
    world.server.socket.say({ type: 'fromTheFuture', callId: 'call-1' });
    await settle();
    expect(agent.connectionState).toBe('Connected');
  });
});
