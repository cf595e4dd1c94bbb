/**
 * What this client wants to publish, against what the server has confirmed.
 *
 * Owns: the difference of the two and the messages that close it, one at a time and in order. The
 * same code serves a click, a resume after an outage and a fresh join.
 * Never: touches a track or a peer connection.
 */
import { ConvokeError, type ConvokeErrorCode } from '../errors.js';
import type { Encoding, Source, Track, TrackDeclaration } from '../generated/protocol.js';

/** A track that this client wants others to have. */
export interface Wanted {
  readonly clientId: string;
  readonly source: Source;
  readonly muted: boolean;
  /** What a picture is sent as, lowest first. */
  readonly encodings?: Encoding[];
  readonly encrypted?: boolean;
}

/** What is said of a track beyond its source. */
export type WantedDetails = Pick<Wanted, 'encodings' | 'encrypted'>;

export type PublicationOp =
  | { readonly type: 'publish'; readonly wanted: Wanted }
  | { readonly type: 'unpublish'; readonly clientId: string }
  | { readonly type: 'mute'; readonly clientId: string; readonly muted: boolean };

/** The next message to send, or undefined when both sides agree. */
export function nextOp(
  wanted: ReadonlyMap<Source, Wanted>,
  confirmed: ReadonlyMap<string, boolean>,
): PublicationOp | undefined {
  const clientIds = new Set([...wanted.values()].map((w) => w.clientId));
  for (const clientId of confirmed.keys()) {
    // First, since the next track may need the same m-line.
    if (!clientIds.has(clientId)) return { type: 'unpublish', clientId };
  }
  for (const w of wanted.values()) {
    const muted = confirmed.get(w.clientId);
    if (muted === undefined) return { type: 'publish', wanted: w };
    if (muted !== w.muted) return { type: 'mute', clientId: w.clientId, muted: w.muted };
  }
  return undefined;
}

/** Failures after which the same wish is tried again on the next connection. */
const LATER = new Set<ConvokeErrorCode>([
  'notConnected',
  'connectionLost',
  'requestTimeout',
  'notInCall',
  'disposed',
  'callEnded',
]);

/** More messages than this in one go means that the server and we do not understand each other. */
const MAX_OPS = 32;

export class Publications {
  readonly #send: (op: PublicationOp) => Promise<void>;
  readonly #wanted = new Map<Source, Wanted>();
  /** By client id: whether it is muted. */
  readonly #confirmed = new Map<string, boolean>();
  readonly #refused = new Map<string, ConvokeError>();
  #counter = 0;
  #syncing: Promise<void> | undefined;
  #dirty = false;

  constructor(send: (op: PublicationOp) => Promise<void>) {
    this.#send = send;
  }

  /** Wants a new track of that source; returns its client id. */
  want(source: Source, muted: boolean, details: WantedDetails = {}): string {
    this.#counter += 1;
    const clientId = `${source}-${this.#counter}`;
    this.#wanted.set(source, { clientId, source, muted, ...details });
    return clientId;
  }

  unwant(source: Source): void {
    this.#wanted.delete(source);
  }

  setMuted(source: Source, muted: boolean): void {
    const wanted = this.#wanted.get(source);
    if (wanted !== undefined) this.#wanted.set(source, { ...wanted, muted });
  }

  get(source: Source): Wanted | undefined {
    return this.#wanted.get(source);
  }

  /** For `join`: everything wanted. */
  declarations(midOf: (source: Source) => string): TrackDeclaration[] {
    return [...this.#wanted.values()].map((w) => ({ ...w, mid: midOf(w.source) }));
  }

  /**
   * Takes the server's word for what is published. What somebody else muted while we did not hear of
   * it stays muted; its sources are returned.
   */
  confirm(tracks: readonly Track[]): Source[] {
    const muted: Source[] = [];
    for (const { clientId, source, muted: isMuted } of tracks) {
      const wanted = this.#wanted.get(source);
      const wasOpen = this.#confirmed.get(clientId) === false;
      if (isMuted && wasOpen && wanted?.clientId === clientId && !wanted.muted) {
        this.setMuted(source, true);
        muted.push(source);
      }
    }
    this.#confirmed.clear();
    for (const track of tracks) this.#confirmed.set(track.clientId, track.muted);
    return muted;
  }

  /** Why the server refused a track, once. */
  takeRefusal(clientId: string): ConvokeError | undefined {
    const error = this.#refused.get(clientId);
    this.#refused.delete(clientId);
    return error;
  }

  /** Sends until both sides agree, or until the connection is lost. Never rejects. */
  sync(): Promise<void> {
    this.#dirty = true;
    this.#syncing ??= this.#loop();
    return this.#syncing;
  }

  async #loop(): Promise<void> {
    // Lets `sync` note this run before it can end.
    await Promise.resolve();
    while (this.#dirty) {
      this.#dirty = false;
      await this.#run();
    }
    this.#syncing = undefined;
  }

  async #run(): Promise<void> {
    for (let sent = 0; sent < MAX_OPS; sent += 1) {
      const op = nextOp(this.#wanted, this.#confirmed);
      if (op === undefined) return;
      try {
        await this.#send(op);
        this.#done(op);
      } catch (cause) {
        const error = ConvokeError.from(cause);
        if (LATER.has(error.code)) return;
        this.#failed(op, error);
      }
    }
  }

  #done(op: PublicationOp): void {
    if (op.type === 'publish') this.#confirmed.set(op.wanted.clientId, op.wanted.muted);
    else if (op.type === 'mute') this.#confirmed.set(op.clientId, op.muted);
    else this.#confirmed.delete(op.clientId);
  }

  #failed(op: PublicationOp, error: ConvokeError): void {
    if (op.type !== 'publish') {
      // The server does not know the track (any more): a wanted one is published anew.
      this.#confirmed.delete(op.clientId);
      return;
    }
    const { clientId, source } = op.wanted;
    this.#refused.set(clientId, error);
    if (this.#wanted.get(source)?.clientId === clientId) this.#wanted.delete(source);
  }
}
