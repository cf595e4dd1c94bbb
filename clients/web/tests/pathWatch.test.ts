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
  readonly pairs = [
    { bytesReceived: 0, responsesReceived: 0 },
    { bytesReceived: 0, responsesReceived: 0 },
  ];
  suspicions = 0;
  silences = 0;
  readonly watch: PathWatch;

  constructor() {
    const connection = (pair: object) => ({
      getStats: async () =>
        new Map<string, object>([
          ['T', { type: 'transport', id: 'T', selectedCandidatePairId: 'P' }],
          ['P', { type: 'candidate-pair', id: 'P', ...pair }],
          ['Q', { type: 'candidate-pair', id: 'Q', responsesReceived: Date.now() }],
        ]),
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
        onSilent: () => {
          this.silences += 1;
        },
      },
      DEFAULT_WATCH,
    );
  }

  /** Lets time pass, in which media comes in or not. */
  async pass(ms: number, media: boolean, more = () => {}): Promise<void> {
    for (let at = 0; at < ms; at += 50) {
      if (media) this.played += 1;
      more();
      await vi.advanceTimersByTimeAsync(50);
    }
  }
}

describe('a path', () => {
  it('is silent within 700 ms, and once, until media came in again', async () => {
    const path = new Path();
    await path.pass(5_000, true);
    expect(path.suspicions).toBe(0);
    await path.pass(700, false);
    expect([path.suspicions, path.silences]).toEqual([1, 1]);
    await path.pass(5_000, false);
    expect(path.silences).toBe(1);
    await path.pass(200, true);
    await path.pass(700, false);
    expect(path.silences).toBe(2);
  });

  it('is not silent while feedback or answers come in', async () => {
    for (const [at, what] of [
      [0, 'bytesReceived'],
      [1, 'responsesReceived'],
    ] as const) {
      const path = new Path();
      const more = () => {
        const pair = path.pairs[at];
        if (pair !== undefined) pair[what] += 1;
      };
      await path.pass(1_000, true, more);
      await path.pass(5_000, false, more);
      expect([path.suspicions, path.silences]).toEqual([1, 0]);
    }
  });

  it('is not looked at where nothing ever came in, or any more', async () => {
    const path = new Path();
    path.played = 0;
    await path.pass(5_000, false);
    expect(path.suspicions).toBe(0);
    await path.pass(100, true);
    path.watch.close();
    await path.pass(5_000, false);
    expect(path.suspicions).toBe(0);
  });
});
