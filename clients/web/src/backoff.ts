/**
 * Delays between attempts: exponential with full jitter, so that clients that lost their server
 * together do not come back together.
 *
 * Owns: the arithmetic.
 * Never: sleeps.
 */

/** How attempts are spaced. */
export interface Backoff {
  /** The widest delay before the first attempt, in milliseconds; doubled for each one after. */
  readonly baseMs: number;
  /** No delay is longer. */
  readonly maxMs: number;
  /** How long attempts go on, in all. */
  readonly giveUpMs: number;
}

/** Used where the app gives none. */
export const DEFAULT_BACKOFF: Backoff = { baseMs: 250, maxMs: 5_000, giveUpMs: 120_000 };

/**
 * The delay before attempt number `attempt` (0 is the first, which still waits a little, so that a
 * restarted server is not met by everyone at once). `random` is in [0, 1).
 */
export function delayMs(attempt: number, backoff: Backoff, random: number): number {
  const widest = Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(random * widest);
}
