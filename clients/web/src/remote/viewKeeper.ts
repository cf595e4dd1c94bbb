/**
 * Keeps the server told of what this client wants to see.
 *
 * Owns: the app's last view; it is sent anew when a wished stream is published anew, and after a
 * resume or a fresh join.
 * Never: sends twice what the server already has.
 */
import { ConvokeError } from '../errors.js';
import type { Follow, SlotWish } from '../generated/protocol.js';
import { type SlotTable, slotsOfKind } from '../signalling/slotTable.js';
import { assignView, type ResolvedWish } from '../signalling/view.js';
import type { RemoteVideoStream } from './remoteVideoStream.js';

interface WishHints {
  /** The size at which it is shown, in physical pixels; 0 where it is not. */
  readonly width?: number;
  readonly height?: number;
  /** The most frames in a second that are of use. */
  readonly maxFramerate?: number;
  /** 0 to 255; higher is served first when bandwidth is short. */
  readonly priority?: number;
}

/** What an app wants in one video slot: a stream, or whatever a policy chooses. */
export type ViewWish = WishHints &
  ({ readonly stream: RemoteVideoStream } | { readonly follow: Follow });

/** What the keeper needs from its call. */
export interface ViewLink {
  slots(): SlotTable;
  send(wishes: SlotWish[] | undefined): Promise<void>;
}

export class ViewKeeper {
  readonly #link: ViewLink;
  #wishes: readonly ViewWish[] | undefined;
  /** What the server has, but for slots: those may move without need of a new view. */
  #sent = 'default';
  /** The slots of the last view: the table tells of them only when the server has carried it out. */
  #placed: ReadonlyMap<string, string> = new Map();

  constructor(link: ViewLink) {
    this.#link = link;
  }

  /**
   * Wishes for now, sent if they mean anything else than those before; null returns all slots to
   * the server's default policy.
   */
  set(wishes: readonly ViewWish[] | null): Promise<void> {
    this.#wishes = wishes ?? undefined;
    return this.#send();
  }

  /** A fresh participant has no view yet. */
  reset(): void {
    this.#sent = 'default';
    this.#placed = new Map();
  }

  async #send(): Promise<void> {
    const resolved = this.#wishes?.flatMap(resolve);
    const text = resolved === undefined ? 'default' : JSON.stringify(resolved);
    if (text === this.#sent) return;
    const before = this.#sent;
    this.#sent = text;
    const slots = slotsOfKind(this.#link.slots(), 'video');
    const view = resolved && assignView(resolved, slots, this.#placed);
    this.#placed = placesOf(view ?? []);
    try {
      await this.#link.send(view);
    } catch (cause) {
      if (this.#sent === text) {
        this.#sent = before;
        this.#placed = new Map();
      }
      const error = ConvokeError.from(cause);
      // Without a connection the wish waits for the next one.
      if (error.code !== 'notConnected' && error.code !== 'connectionLost') throw error;
    }
  }
}

function resolve(wish: ViewWish): ResolvedWish[] {
  const hints = {
    ...(wish.width === undefined ? {} : { width: pixels(wish.width) }),
    ...(wish.height === undefined ? {} : { height: pixels(wish.height) }),
    ...(wish.maxFramerate === undefined ? {} : { maxFramerate: wish.maxFramerate }),
    ...(wish.priority === undefined ? {} : { priority: wish.priority }),
  };
  if ('follow' in wish) return [{ ...hints, follow: wish.follow }];
  const trackId = wish.stream.isAvailable ? wish.stream.id : undefined;
  return trackId === undefined ? [] : [{ ...hints, trackId }];
}

/** 0 is said only of what is not shown at all. */
function pixels(side: number): number {
  return side <= 0 ? 0 : Math.max(1, Math.round(side));
}

function placesOf(view: readonly SlotWish[]): ReadonlyMap<string, string> {
  return new Map(
    view.flatMap(({ trackId, mid }) => (trackId === undefined ? [] : [[trackId, mid]])),
  );
}
