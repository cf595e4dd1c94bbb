import { describe, expect, it } from 'vitest';
import { delayMs } from '../src/backoff.js';

const BACKOFF = { baseMs: 250, maxMs: 5_000, giveUpMs: 60_000 };

describe('backoff', () => {
  it.each([
    [0, 250],
    [1, 500],
    [2, 1_000],
    [4, 4_000],
    [5, 5_000],
    [1_000, 5_000],
  ])('attempt %i waits at most %i ms', (attempt, widest) => {
    expect(delayMs(attempt, BACKOFF, 0.999_999)).toBe(widest);
  });

  it('has full jitter: the whole range from zero is used', () => {
    expect(delayMs(3, BACKOFF, 0)).toBe(0);
    expect(delayMs(3, BACKOFF, 0.25)).toBe(500);
    expect(delayMs(3, BACKOFF, 0.5)).toBe(1_000);
  });
});
