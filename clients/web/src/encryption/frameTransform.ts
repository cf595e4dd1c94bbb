/**
 * What a worker does with the frames of one sender or receiver.
 *
 * Owns: the choice of key and of clear bytes, and the counts.
 * Never: passes on a frame that it could not seal or open; it is dropped and counted.
 */
import { type Clear, FrameSealer, keyIndexOf, openFrame } from './frameCipher.js';

/** The part of `RTCEncodedVideoFrame` and `RTCEncodedAudioFrame` that is used. */
export interface EncodedFrame {
  /** Absent for audio. */
  readonly type?: 'key' | 'delta' | 'empty';
  data: ArrayBuffer;
  getMetadata(): { readonly mimeType?: string; readonly payloadType?: number };
}

export interface Keys {
  readonly byIndex: ReadonlyMap<number, CryptoKey>;
  /** For sending; undefined: nothing may be sent yet. */
  readonly sendIndex: number | undefined;
}

/** Frames so far. */
export interface FrameCounts {
  /** Sealed or opened. */
  readonly passed: number;
  /** Dropped: no key, another key, changed on the way, not encrypted, or an unknown codec. */
  readonly failed: number;
}

const CLEAR: Record<string, { readonly key: Clear; readonly delta: Clear }> = {
  // The frame tag, and for keyframes start code and size (RFC 6386 §9.1).
  vp8: { key: { bytes: 10, wrapped: false }, delta: { bytes: 3, wrapped: false } },
  vp9: { key: { bytes: 0, wrapped: false }, delta: { bytes: 0, wrapped: false } },
  av1: { key: { bytes: 0, wrapped: true }, delta: { bytes: 0, wrapped: true } },
};
/** The table of contents (RFC 6716 §3.1). */
const OPUS: Clear = { bytes: 1, wrapped: false };

/** Undefined for codecs whose packets need more of a frame than can be left readable. */
export function clearOf(type: EncodedFrame['type'], codec: string | undefined): Clear | undefined {
  if (type === undefined) return codec === undefined || codec === 'opus' ? OPUS : undefined;
  return CLEAR[codec ?? '']?.[type === 'key' ? 'key' : 'delta'];
}

export class FrameTransform {
  readonly #direction: 'send' | 'receive';
  readonly #keys: () => Keys;
  readonly #requestKeyframe: () => void;
  readonly #sealer = new FrameSealer();
  #codecs: ReadonlyMap<number, string> = new Map();
  #passed = 0;
  #failed = 0;
  #failing = false;

  constructor(direction: 'send' | 'receive', keys: () => Keys, requestKeyframe: () => void) {
    this.#direction = direction;
    this.#keys = keys;
    this.#requestKeyframe = requestKeyframe;
  }

  get counts(): FrameCounts {
    return { passed: this.#passed, failed: this.#failed };
  }

  /** Which payload type is which codec, for browsers whose frames do not say. */
  setCodecs(codecs: ReadonlyMap<number, string>): void {
    this.#codecs = codecs;
  }

  /** Changes the frame's data; false: drop it. */
  async apply(frame: EncodedFrame): Promise<boolean> {
    // A frame of nothing, as silence may be, has nothing to hide.
    if (frame.data.byteLength === 0) return true;
    try {
      const bytes = new Uint8Array(frame.data);
      const result = await (this.#direction === 'send'
        ? this.#seal(frame, bytes)
        : this.#open(bytes));
      frame.data = result.buffer;
    } catch {
      this.#failed += 1;
      this.#failing = true;
      return false;
    }
    this.#passed += 1;
    // What was dropped is missing to the decoder.
    if (this.#failing && this.#direction === 'receive' && frame.type === 'delta') {
      this.#requestKeyframe();
    }
    this.#failing = false;
    return true;
  }

  async #seal(frame: EncodedFrame, bytes: Uint8Array<ArrayBuffer>) {
    const { byIndex, sendIndex } = this.#keys();
    const key = sendIndex === undefined ? undefined : byIndex.get(sendIndex);
    const clear = clearOf(frame.type, this.#codecOf(frame));
    if (key === undefined || sendIndex === undefined || clear === undefined) {
      throw new Error('no key, or an unknown codec');
    }
    return this.#sealer.seal(bytes, clear, key, sendIndex);
  }

  async #open(bytes: Uint8Array<ArrayBuffer>) {
    const index = keyIndexOf(bytes);
    const key = index === undefined ? undefined : this.#keys().byIndex.get(index);
    if (key === undefined) throw new Error('no key');
    return openFrame(bytes, key);
  }

  #codecOf(frame: EncodedFrame): string | undefined {
    const { mimeType, payloadType } = frame.getMetadata();
    const name = mimeType?.split('/')[1]?.toLowerCase();
    return name ?? this.#codecs.get(payloadType ?? -1);
  }
}
