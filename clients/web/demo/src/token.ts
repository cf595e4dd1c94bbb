/**
 * Where the demo gets its access token.
 *
 * Owns: the two ways: a development server makes one, or the person pastes one.
 * Never: stores a token, or puts it in a URL.
 */
import { ConvokeError, type Role, type TokenCredential, type TokenSource } from '@convoke/client';

/** The server does not make tokens by itself. */
export class TokenNeeded extends Error {}

interface DevToken {
  readonly token: string;
  readonly identity: string;
}

/** What a development token says beyond the name. */
export interface Claims {
  readonly identity?: string | undefined;
  readonly role?: Role | undefined;
  readonly guest?: boolean | undefined;
}

async function request(displayName: string, claims: Claims): Promise<DevToken> {
  let response: Response;
  try {
    response = await fetch('/dev/token', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ displayName, ...claims }),
    });
  } catch {
    throw new ConvokeError('connectionFailed', 'The server could not be reached.');
  }
  if (response.status === 404 || response.status === 405) throw new TokenNeeded();
  if (!response.ok) {
    throw new ConvokeError('internal', `The server answered ${response.status} to /dev/token.`);
  }
  return (await response.json()) as DevToken;
}

/** A token from the development server, renewed for the same identity as long as the page lives. */
export async function devTokens(
  displayName: string,
  claims: Claims = {},
): Promise<TokenCredential> {
  let next: DevToken | undefined = await request(displayName, claims);
  const { identity } = next;
  return {
    async getToken() {
      const token = next ?? (await request(displayName, { ...claims, identity }));
      next = undefined;
      return token;
    },
  };
}

/** The pasted token, if there is one, else one from the development server. */
export async function tokensFor(
  displayName: string,
  pasted: string,
  claims: Claims = {},
): Promise<TokenSource> {
  const token = pasted.trim();
  return token === '' ? devTokens(displayName, claims) : token;
}
