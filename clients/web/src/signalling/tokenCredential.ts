/**
 * Where access tokens come from.
 *
 * Owns: the shape that apps implement (as in the ACS common library).
 * Never: stores a token anywhere but in memory, or puts one in a URL.
 */

/** Gives an access token when asked; asked again before the last one expires. */
export interface TokenCredential {
  getToken(): Promise<{ readonly token: string }>;
}

/** A fixed token, or something that gives new ones. A fixed token is never renewed. */
export type TokenSource = string | TokenCredential;

/** @internal */
export async function tokenOf(source: TokenSource): Promise<string> {
  return typeof source === 'string' ? source : (await source.getToken()).token;
}

/** Renew when this share of the token's remaining life is over. */
const RENEW_AT = 0.8;
/** The longest that browsers' timers can wait, 2^31 - 1 ms. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** When to renew a token that is good until `expiresAtMs`; undefined if it cannot be renewed. */
export function renewalDelayMs(
  source: TokenSource,
  expiresAtMs: number,
  nowMs: number,
): number | undefined {
  if (typeof source === 'string') return undefined;
  const left = expiresAtMs - nowMs;
  return Math.min(LONGEST_TIMER_MS, Math.max(1_000, Math.round(left * RENEW_AT)));
}
