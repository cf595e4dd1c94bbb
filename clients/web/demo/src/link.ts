/**
 * Call IDs and links to calls.
 *
 * Owns: reading what people paste, and the form of links.
 * Never: puts a token into a link.
 */

import type { LobbyPolicy, Role, VideoCodec, VideoPublishOptions } from '@convoke/client';

const GUID = /[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}/i;

/** The call ID in a pasted ID or link; undefined if there is none. */
export function callIdIn(text: string): string | undefined {
  const found = GUID.exec(text.trim())?.[0];
  if (found === undefined) return undefined;
  const hex = found.replaceAll('-', '').toLowerCase();
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}

export function linkTo(callId: string, origin: string): string {
  return `${origin}/?call=${callId}`;
}

/** What the page's address asks for. */
export interface PageOptions {
  readonly callId: string | undefined;
  readonly name: string | undefined;
  readonly autojoin: boolean;
  readonly microphone: boolean;
  readonly camera: boolean;
  /** How the camera is sent. */
  readonly video: VideoPublishOptions;
  /** Of the demo's own: who this is, so that others can call it. */
  readonly identity: string | undefined;
  readonly role: Role | undefined;
  readonly guest: boolean;
  /** Who waits in the lobby of calls that this page starts. */
  readonly lobby: LobbyPolicy | undefined;
  /** Encrypts end to end with a key made of it. */
  readonly passphrase: string | undefined;
}

const ROLES: readonly Role[] = ['Presenter', 'Collaborator', 'Attendee', 'Consumer'];
const LOBBIES: readonly LobbyPolicy[] = ['nobody', 'guests', 'everyone'];
const CODECS: readonly VideoCodec[] = ['VP8', 'VP9', 'H264', 'AV1'];

/**
 * Reads `/?call=…&name=…&autojoin=1&mic=off&camera=off`, or `/#…` for the ID alone; and
 * `identity=bob` to be called by that name; `role=Presenter`, `guest=1` and `lobby=guests` for calls
 * with roles and a lobby; `codec=VP9&svc=L3T3_KEY` to try out ways of sending, `e2ee=…` to encrypt end to end. Behind `#`
 * the passphrase stays in the browser.
 */
export function readAddress(address: string): PageOptions {
  const url = new URL(address);
  const query = url.searchParams;
  return {
    callId: callIdIn(query.get('call') ?? url.hash),
    name: query.get('name') ?? undefined,
    autojoin: query.get('autojoin') === '1',
    microphone: query.get('mic') !== 'off',
    camera: query.get('camera') !== 'off',
    video: videoOptions(query),
    identity: query.get('identity') || undefined,
    role: ROLES.find((role) => role === query.get('role')),
    guest: query.get('guest') === '1',
    lobby: LOBBIES.find((policy) => policy === query.get('lobby')),
    passphrase:
      query.get('e2ee') ?? new URLSearchParams(url.hash.slice(1)).get('e2ee') ?? undefined,
  };
}

function videoOptions(query: URLSearchParams): VideoPublishOptions {
  const codec = CODECS.find((name) => name === query.get('codec')?.toUpperCase());
  const scalabilityMode = query.get('svc');
  return {
    ...(codec === undefined ? {} : { codec }),
    ...(scalabilityMode === null ? {} : { scalabilityMode }),
  };
}
