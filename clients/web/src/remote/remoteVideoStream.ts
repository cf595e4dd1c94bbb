/**
 * The camera or screen of someone else, followed over slots.
 *
 * Owns: whether it is published, which slot carries it now, its size.
 * Never: creates elements; `VideoStreamRenderer` does.
 */
import { Emitter } from '../events.js';
import type { Layer, Slot, SlotReason, SlotState, Track } from '../generated/protocol.js';
import type { MediaStreamType } from '../local/localVideoStream.js';
import type { Box } from './elementBox.js';

/** @internal Where the packets of a stream come in. */
export interface Attachment {
  readonly mid: string;
  readonly trackId: string;
  readonly receiver: RTCRtpReceiver;
  /** What the packets of this stream carry. */
  readonly csrc: number;
  /** Whether the server says that packets flow; the CSRC may say so earlier. */
  readonly flowing: boolean;
}

export interface RemoteVideoStreamEvents {
  isAvailableChanged: undefined;
  /** Packets of it began or ceased to come. */
  isReceivingChanged: undefined;
  sizeChanged: undefined;
  /** The server sends another layer of it, or gives another reason for not sending a better one. */
  layerChanged: undefined;
  /** @internal */
  attachmentChanged: Attachment | undefined;
  /** @internal A view came, went, or is shown in another size. */
  boxChanged: undefined;
}

export class RemoteVideoStream extends Emitter<RemoteVideoStreamEvents> {
  readonly mediaStreamType: MediaStreamType;
  #track: Track | undefined;
  #slot: Slot | undefined;
  #attachment: Attachment | undefined;
  #size = { width: 0, height: 0 };
  /** The size of each view, where it is known. */
  readonly #views = new Map<unknown, Box | undefined>();

  /** @internal */
  constructor(mediaStreamType: MediaStreamType) {
    super();
    this.mediaStreamType = mediaStreamType;
  }

  /** The server's id of the published track; changes when it is published anew. */
  get id(): string | undefined {
    return this.#track?.trackId;
  }

  /** Whether it is published and not muted. */
  get isAvailable(): boolean {
    return this.#track !== undefined && !this.#track.muted;
  }

  /** Whether its publisher encrypts it end to end. */
  get isEncrypted(): boolean {
    return this.#track?.encrypted === true;
  }

  /** Whether packets of it come. */
  get isReceiving(): boolean {
    return this.#slot?.state === 'active';
  }

  /** The `a=mid` of the slot that carries it, if one does. */
  get slotMid(): string | undefined {
    return this.#slot?.mid;
  }

  /** Why nothing is shown, where nothing is. */
  get slotState(): SlotState | undefined {
    return this.#slot?.state;
  }

  /** Which of its layers the server sends, and so how good the picture can be. */
  get layer(): Layer | undefined {
    return this.#slot?.layer;
  }

  /** Why the server sends no better layer. */
  get layerReason(): SlotReason | undefined {
    return this.#slot?.reason;
  }

  /** The size of the last picture shown; zeros before the first. */
  get size(): { readonly width: number; readonly height: number } {
    return this.#size;
  }

  /** @internal */
  get attachment(): Attachment | undefined {
    return this.#attachment;
  }

  /** @internal Whether the app has a view of it, seen or not. */
  get isShown(): boolean {
    return this.#views.size > 0;
  }

  /** @internal The box of its largest view; zeros: none is seen; undefined: not measured yet. */
  get box(): Box | undefined {
    let largest: Box | undefined;
    for (const box of this.#views.values()) {
      if (box === undefined) continue;
      if (largest === undefined || box.width * box.height > largest.width * largest.height) {
        largest = box;
      }
    }
    return largest;
  }

  /** @internal A view says how large it is (undefined: not known yet). */
  reportBox(view: unknown, box: Box | undefined): void {
    this.#views.set(view, box);
    this.emit('boxChanged', undefined);
  }

  /** @internal */
  removeView(view: unknown): void {
    if (this.#views.delete(view)) this.emit('boxChanged', undefined);
  }

  /** @internal */
  update(
    track: Track | undefined,
    slot: Slot | undefined,
    attachment: Attachment | undefined,
  ): void {
    const { isAvailable, isReceiving, layer, layerReason } = this;
    const old = this.#attachment;
    this.#track = track;
    this.#slot = slot;
    this.#attachment = attachment;
    if (!same(old, attachment)) this.emit('attachmentChanged', attachment);
    if (this.isAvailable !== isAvailable) this.emit('isAvailableChanged', undefined);
    if (this.isReceiving !== isReceiving) this.emit('isReceivingChanged', undefined);
    if (!sameLayer(this.layer, layer) || this.layerReason !== layerReason) {
      this.emit('layerChanged', undefined);
    }
  }

  /** @internal */
  reportSize(width: number, height: number): void {
    if (this.#size.width === width && this.#size.height === height) return;
    this.#size = { width, height };
    this.emit('sizeChanged', undefined);
  }
}

function sameLayer(a: Layer | undefined, b: Layer | undefined): boolean {
  return a?.spatial === b?.spatial && a?.temporal === b?.temporal;
}

function same(a: Attachment | undefined, b: Attachment | undefined): boolean {
  return (
    a?.trackId === b?.trackId &&
    a?.mid === b?.mid &&
    a?.receiver === b?.receiver &&
    a?.flowing === b?.flowing
  );
}
