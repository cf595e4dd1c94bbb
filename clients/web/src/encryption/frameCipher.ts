/**
 * One encoded frame, sealed and opened with AES-GCM. The layout is in ENCRYPTION.md.
 *
 * Owns: the bytes, and that no IV is used twice with a key.
 * Never: lets a frame pass as it is: what cannot be sealed or opened is an error.
 */

/** What stays readable at the front, because packetizers and depacketizers read it. */
export interface Clear {
  readonly bytes: number;
  /** Whether all is wrapped into an AV1 OBU, for its packetizer takes nothing else. */
  readonly wrapped: boolean;
}

const IV_BYTES = 12;
const PREFIX_BYTES = 8;
const TAG_BYTES = 16;
/** IV, key index, format. */
const TRAILER_BYTES = IV_BYTES + 2;
const WRAPPED = 0x80;
const MAX_COUNTER = 0xffff_ffff;
/** OBU_FRAME with a size field (AV1 specification, 5.3.2). */
const OBU_FRAME = 0x32;

type Bytes = Uint8Array<ArrayBuffer>;

/** Seals the frames of one sender; its IVs are a random prefix of its own and a counter. */
export class FrameSealer {
  #prefix = crypto.getRandomValues(new Uint8Array(PREFIX_BYTES));
  #counter = 0;

  async seal(frame: Bytes, clear: Clear, key: CryptoKey, keyIndex: number): Promise<Bytes> {
    const bytes = Math.min(clear.bytes, frame.length);
    const head = frame.slice(0, bytes);
    const trailer = new Uint8Array(TRAILER_BYTES);
    trailer.set(this.#nextIv());
    trailer[IV_BYTES] = keyIndex;
    trailer[IV_BYTES + 1] = bytes | (clear.wrapped ? WRAPPED : 0);
    const sealed = await crypto.subtle.encrypt(
      { ...algorithm(trailer), additionalData: concat(head, trailer) },
      key,
      frame.slice(bytes),
    );
    const all = concat(head, new Uint8Array(sealed), trailer);
    return clear.wrapped ? wrap(all) : all;
  }

  #nextIv(): Bytes {
    if (this.#counter > MAX_COUNTER) {
      this.#prefix = crypto.getRandomValues(new Uint8Array(PREFIX_BYTES));
      this.#counter = 0;
    }
    const iv = new Uint8Array(IV_BYTES);
    iv.set(this.#prefix);
    new DataView(iv.buffer).setUint32(PREFIX_BYTES, this.#counter);
    this.#counter += 1;
    return iv;
  }
}

/** The key that a frame names; undefined for what is no sealed frame. */
export function keyIndexOf(frame: Uint8Array): number | undefined {
  return frame.length < TRAILER_BYTES + TAG_BYTES ? undefined : frame.at(-2);
}

/** The frame as its sender had it; rejects what was not sealed with this key, or was changed. */
export async function openFrame(frame: Bytes, key: CryptoKey): Promise<Bytes> {
  const trailer = frame.slice(frame.length - TRAILER_BYTES);
  const format = trailer[IV_BYTES + 1] ?? 0;
  const all = (format & WRAPPED) === 0 ? frame : unwrap(frame);
  const bytes = format & ~WRAPPED;
  if (all.length < bytes + TAG_BYTES + TRAILER_BYTES) throw new Error('the frame is too short');
  const head = all.slice(0, bytes);
  const opened = await crypto.subtle.decrypt(
    { ...algorithm(trailer), additionalData: concat(head, trailer) },
    key,
    all.slice(bytes, all.length - TRAILER_BYTES),
  );
  return concat(head, new Uint8Array(opened));
}

function algorithm(trailer: Bytes): AesGcmParams {
  return { name: 'AES-GCM', iv: trailer.slice(0, IV_BYTES), tagLength: TAG_BYTES * 8 };
}

/** Around the frame: OBU header and size (leb128), as every packetizer expects and rewrites them. */
function wrap(frame: Bytes): Bytes {
  const size: number[] = [];
  for (let rest = frame.length; ; rest >>>= 7) {
    size.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  return concat(Uint8Array.of(OBU_FRAME, ...size), frame);
}

function unwrap(frame: Bytes): Bytes {
  let at = 1;
  while (at < 9 && ((frame[at] ?? 0) & 0x80) !== 0) at += 1;
  return frame.slice(at + 1);
}

function concat(...parts: readonly Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
