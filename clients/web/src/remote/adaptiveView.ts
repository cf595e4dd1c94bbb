/**
 * Makes wishes of what is on the page: each stream in the size in which it is shown.
 *
 * Owns: when the server is told. What appears is told at once, what changes or goes after a moment,
 * and what hardly changed not at all.
 * Never: measures (views do), or chooses slots (`ViewKeeper` does).
 */
import type { Box } from './elementBox.js';
import { NOT_SEEN } from './elementBox.js';
import type { RemoteVideoStream } from './remoteVideoStream.js';
import type { ViewKeeper, ViewWish } from './viewKeeper.js';

const APPEAR_DELAY_MS = 30;
const CHANGE_DELAY_MS = 250;
/** How long a stream may be without a view before it counts as not wanted. */
const UNUSED_GRACE_MS = 2_000;
/** A side must change by more than this share of itself. */
const MATERIAL = 0.1;
/** Whoever shares a screen wants it to be read. */
const SCREEN_PRIORITY = 1;

export class AdaptiveView {
  readonly #keeper: ViewKeeper;
  readonly #streams: () => readonly RemoteVideoStream[];
  readonly #followed = new Map<RemoteVideoStream, () => void>();
  /** The sizes that the server is told. */
  readonly #settled = new Map<RemoteVideoStream, Box>();
  /** Since when a stream has no view. */
  readonly #unused = new Map<RemoteVideoStream, number>();
  #wishes: readonly ViewWish[] | undefined;
  /** Whether the app shows streams in views; if it never does, it is not second-guessed. */
  #engaged = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueMs = 0;

  constructor(keeper: ViewKeeper, streams: () => readonly RemoteVideoStream[]) {
    this.#keeper = keeper;
    this.#streams = streams;
  }

  /** The app's own wishes, which come before what is measured; null: only what is measured. */
  set(wishes: readonly ViewWish[] | null): Promise<void> {
    this.#wishes = wishes ?? undefined;
    return this.#tell();
  }

  /** Streams came, went or changed. */
  update(): void {
    const streams = new Set(this.#streams());
    for (const [stream, stop] of this.#followed) {
      if (streams.has(stream)) continue;
      stop();
      this.#followed.delete(stream);
      this.#settled.delete(stream);
      this.#unused.delete(stream);
    }
    for (const stream of streams) {
      if (this.#followed.has(stream)) continue;
      const onBox = () => this.#onBox(stream);
      stream.on('boxChanged', onBox);
      this.#followed.set(stream, () => stream.off('boxChanged', onBox));
      onBox();
    }
    // Tracks may be other ones now; the keeper sends only if they are.
    this.#quietly();
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const stop of this.#followed.values()) stop();
    this.#followed.clear();
  }

  #onBox(stream: RemoteVideoStream): void {
    if (stream.isShown) {
      this.#engaged = true;
      this.#unused.delete(stream);
    } else if (!this.#unused.has(stream)) {
      this.#unused.set(stream, Date.now());
    }
    const box = stream.box;
    const appears = box !== undefined && seen(box) && !seen(this.#settled.get(stream) ?? NOT_SEEN);
    this.#schedule(appears ? APPEAR_DELAY_MS : CHANGE_DELAY_MS);
  }

  #schedule(delayMs: number): void {
    const dueMs = Date.now() + delayMs;
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#quietly();
    }, delayMs);
  }

  #quietly(): void {
    // A refusal means that the call changed meanwhile; that change comes here as well.
    this.#tell().catch(() => undefined);
  }

  #tell(): Promise<void> {
    const own = this.#wishes?.map((wish) => this.#measured(wish)) ?? [];
    // Whom a policy shows is the server's choice, which names would take away from it.
    const policy = own.some((wish) => 'follow' in wish);
    const rest = policy || !this.#engaged ? [] : this.#rest(own);
    const none = this.#wishes === undefined && rest.length === 0;
    return this.#keeper.set(none ? null : [...own, ...rest]);
  }

  /** The app's wish, with the size in which the page shows it where the app gave none. */
  #measured(wish: ViewWish): ViewWish {
    if ('follow' in wish || wish.width !== undefined || wish.height !== undefined) return wish;
    const box = this.#settle(wish.stream);
    return box === undefined ? wish : { ...wish, ...box };
  }

  #rest(own: readonly ViewWish[]): ViewWish[] {
    const named = new Set(own.map((wish) => ('stream' in wish ? wish.stream : undefined)));
    return this.#streams().flatMap((stream) => {
      if (named.has(stream) || !stream.isAvailable) return [];
      const box = stream.isShown ? this.#settle(stream) : this.#unusedBox(stream);
      if (box === undefined) return [];
      const first = stream.mediaStreamType === 'ScreenSharing';
      return [{ stream, ...box, ...(first ? { priority: SCREEN_PRIORITY } : {}) }];
    });
  }

  /** Its size, where that changed enough to be worth a message; else the size told before. */
  #settle(stream: RemoteVideoStream): Box | undefined {
    const old = this.#settled.get(stream);
    const box = stream.box;
    if (box === undefined || (old !== undefined && !material(old, box))) return old;
    this.#settled.set(stream, box);
    return box;
  }

  #unusedBox(stream: RemoteVideoStream): Box | undefined {
    this.#settled.delete(stream);
    const leftMs = (this.#unused.get(stream) ?? Date.now()) + UNUSED_GRACE_MS - Date.now();
    if (leftMs <= 0) return NOT_SEEN;
    this.#schedule(leftMs);
    return undefined;
  }
}

function seen({ width, height }: Box): boolean {
  return width > 0 && height > 0;
}

function material(old: Box, now: Box): boolean {
  if (seen(old) !== seen(now)) return true;
  return (['width', 'height'] as const).some(
    (side) => Math.abs(now[side] - old[side]) > old[side] * MATERIAL,
  );
}
