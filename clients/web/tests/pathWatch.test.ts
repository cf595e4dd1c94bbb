import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DEFAULT_WATCH, PathWatch } from '../src/media/pathWatch.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A path on which things come in, or do not. */
class Path {
  played = 1;
  asked = 0;
  /** Media packets that went out. */
  sent = 0;
  rtt = 0.02;
  answered = true;
  /** How long statistics take. */
  statsMs = 0;
  state = 'connected';
  /** As a browser that does not say which pair is in use. */
  mute = false;
  readonly pairs = [
    { bytesReceived: 0, responsesReceived: 0 },
    { bytesReceived: 0, responsesReceived: 0 },
  ];
  suspicions = 0;
  readonly silentAt: number[] = [];
  readonly watch: PathWatch;

  constructor() {
    const path = this;
    const connection = (pair: object) => ({
      get connectionState() {
        return path.state;
      },
      getStats: async () => {
        this.asked += 1;
        if (this.statsMs > 0) await new Promise((done) => setTimeout(done, this.statsMs));
        if (this.mute) return new Map();
        return new Map<string, object>([
          ['T', { type: 'transport', id: 'T', selectedCandidatePairId: 'P' }],
          ['P', { type: 'candidate-pair', id: 'P', currentRoundTripTime: this.rtt, ...pair }],
          ['Q', { type: 'candidate-pair', id: 'Q', responsesReceived: Date.now() }],
          ['O', { type: 'outbound-rtp', id: 'O', packetsSent: this.sent }],
        ]);
      },
    });
    const receiver = (muted: boolean) => ({
      track: { muted },
      getSynchronizationSources: () => [{ timestamp: muted ? Date.now() : this.played }],
    });
    this.watch = new PathWatch(
      {
        connections: this.pairs.map(connection) as never,
        receivers: () => [receiver(false), receiver(true)] as never,
        onSuspicion: () => {
          this.suspicions += 1;
        },
        answered: () => this.answered,
        onSilent: () => this.silentAt.push(Date.now()),
      },
      DEFAULT_WATCH,
    );
  }

  /** Lets time pass, in which these come in or go out. */
  async pass(
    ms: number,
    what: { media?: boolean; feedback?: boolean; sends?: boolean } = {},
  ): Promise<void> {
    for (let at = 0; at < ms; at += 20) {
      if (what.media) this.played += 1;
      const [pair] = this.pairs;
      if (what.feedback && pair !== undefined) pair.bytesReceived += 80;
      if (what.sends) this.sent += 1;
      await vi.advanceTimersByTimeAsync(20);
    }
  }
}

const ALL = { media: true, feedback: true, sends: true };
const SPEAKS = { feedback: true, sends: true };

describe('a path', () => {
  it('is silent 400 ms after the last that came in, and the WebSocket was asked before', async () => {
    const path = new Path();
    await path.pass(5_000, ALL);
    // What the browser knows is not asked.
    expect([path.suspicions, path.asked]).toEqual([0, 0]);
    await path.pass(400, { sends: true });
    expect([path.suspicions, path.silentAt.length]).toEqual([1, 1]);
  });

  it('is silent within 600 ms where nobody else says anything', async () => {
    for (const more of [0, 60, 120, 180, 240]) {
      const path = new Path();
      await path.pass(1_000, ALL);
      await path.pass(20_000 + more, SPEAKS);
      expect([path.suspicions, path.silentAt.length]).toEqual([0, 0]);
      await path.pass(600, { sends: true });
      expect(path.silentAt).toHaveLength(1);
      path.watch.close();
    }
  });

  it('is not silent while feedback or answers come in, and is seldom asked about', async () => {
    for (const [at, what] of [
      [0, 'bytesReceived'],
      [1, 'responsesReceived'],
    ] as const) {
      const path = new Path();
      await path.pass(1_000, ALL);
      path.asked = 0;
      for (let passed = 0; passed < 5_000; passed += 100) {
        const pair = path.pairs[at];
        if (pair !== undefined) pair[what] += 1;
        await path.pass(100, { sends: true });
      }
      expect(path.silentAt).toEqual([]);
      // Two connections, four times a second, and at the beginning.
      expect(path.asked).toBeLessThan(2 * (5 * 4 + 5));
      path.watch.close();
    }
  });

  it('is not silent where nothing has to come, while the WebSocket answers', async () => {
    const path = new Path();
    await path.pass(1_000, ALL);
    await path.pass(30_000, {});
    expect(path.silentAt).toEqual([]);
    expect(path.suspicions).toBeGreaterThan(2);
    expect(path.suspicions).toBeLessThan(6);
    // Long after the last media it may be slow to answer.
    path.answered = false;
    await path.pass(900, {});
    expect(path.silentAt).toEqual([]);
    await path.pass(7_700, {});
    expect(path.silentAt.length).toBeGreaterThan(0);
  });

  it('does not ask the WebSocket where nobody says anything, but consent is answered', async () => {
    const path = new Path();
    await path.pass(1_000, ALL);
    await path.pass(3_000, {});
    path.suspicions = 0;
    for (let checks = 0; checks < 20; checks += 1) {
      for (const pair of path.pairs) pair.responsesReceived += 1;
      await path.pass(6_000, {});
    }
    expect(path.suspicions).toBe(0);
    expect(path.silentAt).toEqual([]);
  });

  it('is silent as soon for who only watches, where the WebSocket does not answer either', async () => {
    const path = new Path();
    await path.pass(1_000, { media: true });
    path.answered = false;
    await path.pass(400, {});
    expect(path.silentAt).toHaveLength(1);
  });

  it('is not silent where we begin to send, until feedback can have come', async () => {
    for (let more = 0; more < 7_600; more += 200) {
      const path = new Path();
      await path.pass(1_000, ALL);
      await path.pass(10_000 + more, {});
      path.rtt = 0.2;
      await path.pass(200, { sends: true });
      await path.pass(1_000, SPEAKS);
      expect(path.silentAt).toEqual([]);
      path.watch.close();
    }
  });

  it('is not silent for a machine that is too busy to look, and is once it looks in time', async () => {
    const path = new Path();
    await path.pass(1_000, ALL);
    for (let late = 0; late < 20; late += 1) {
      vi.setSystemTime(Date.now() + 300);
      await path.pass(100, { sends: true });
    }
    expect(path.silentAt).toEqual([]);
    await path.pass(600, { sends: true });
    expect(path.silentAt).toHaveLength(1);
  });

  it('is not silent by statistics that were long on their way', async () => {
    const path = new Path();
    await path.pass(1_000, ALL);
    path.statsMs = 150;
    await path.pass(3_000, { sends: true });
    expect(path.silentAt).toEqual([]);
    path.statsMs = 20;
    await path.pass(800, { sends: true });
    expect(path.silentAt).toHaveLength(1);
  });

  it('gets more time where the round trip is long', async () => {
    const path = new Path();
    path.rtt = 0.4;
    await path.pass(1_000, ALL);
    await path.pass(700, { sends: true });
    expect(path.silentAt).toEqual([]);
    await path.pass(300, { sends: true });
    expect(path.silentAt).toHaveLength(1);
  });

  it('that stays silent is told again, ever less often; so is one that stalls', async () => {
    for (const stalls of [false, true]) {
      const path = new Path();
      await path.pass(1_000, ALL);
      for (let passed = 0; passed < 60_000; passed += 1_000) {
        await path.pass(500, { sends: true });
        await path.pass(500, stalls ? ALL : { sends: true });
      }
      const between = path.silentAt.slice(1).map((at, i) => at - (path.silentAt[i] ?? 0));
      expect(between).toHaveLength(8);
      for (const [i, least] of [2_000, 4_000, 8_000, 8_000, 8_000, 8_000, 8_000, 8_000].entries()) {
        expect(between[i]).toBeGreaterThanOrEqual(least);
        expect(between[i]).toBeLessThanOrEqual(least + 1_000);
      }
      // After a calm time at once.
      await path.pass(60_000, ALL);
      const told = path.silentAt.length;
      await path.pass(400, { sends: true });
      await path.pass(2_000, ALL);
      await path.pass(400, { sends: true });
      expect(path.silentAt.length - told).toBe(2);
      path.watch.close();
    }
  });

  it('is not looked at before it is connected, nor after its end', async () => {
    const path = new Path();
    path.state = 'connecting';
    await path.pass(5_000, { sends: true });
    path.state = 'connected';
    await path.pass(100, ALL);
    path.watch.close();
    const { asked } = path;
    await path.pass(5_000, { sends: true });
    expect([path.suspicions, path.silentAt.length]).toEqual([0, 0]);
    expect(path.asked).toBe(asked);
  });

  it('of which the browser tells nothing is never silent', async () => {
    const path = new Path();
    path.mute = true;
    path.answered = false;
    await path.pass(1_000, ALL);
    await path.pass(10_000, { sends: true });
    expect([path.suspicions, path.silentAt.length]).toEqual([0, 0]);
    expect(path.asked).toBeLessThan(20);
  });
});
