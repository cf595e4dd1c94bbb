/**
 * Data messages as bytes: frames on data channels, base64 in JSON.
 *
 * Owns: the layout of PROTOCOL.md, section 17.2; numbers are big endian.
 * Never: throws at what a stranger sent; what is malformed is passed over.
 */

const VERSION = 1;
export const MAX_PAYLOAD_BYTES = 16_384;
export const MAX_TOPIC_BYTES = 64;
export const MAX_RECIPIENTS = 255;

/** To the server: version, n, n × u32 recipient, topic length, topic, payload. */
export function encodeFrame(
  recipients: readonly number[],
  topic: Uint8Array,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const head = 2 + 4 * recipients.length;
  const frame = new Uint8Array(head + 1 + topic.length + payload.length);
  const view = new DataView(frame.buffer);
  frame[0] = VERSION;
  frame[1] = recipients.length;
  for (const [index, csrc] of recipients.entries()) view.setUint32(2 + 4 * index, csrc);
  frame[head] = topic.length;
  frame.set(topic, head + 1);
  frame.set(payload, head + 1 + topic.length);
  return frame;
}

export interface ReceivedFrame {
  /** Of the sender. */
  readonly csrc: number;
  readonly topic: string | undefined;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** From the server: version, u32 sender, topic length, topic, payload. */
export function decodeFrame(data: ArrayBuffer): ReceivedFrame | undefined {
  if (data.byteLength < 6) return undefined;
  const view = new DataView(data);
  if (view.getUint8(0) !== VERSION) return undefined;
  const end = 6 + view.getUint8(5);
  if (end > data.byteLength) return undefined;
  const topic = end === 6 ? undefined : new TextDecoder().decode(new Uint8Array(data, 6, end - 6));
  return { csrc: view.getUint32(1), topic, payload: new Uint8Array(data.slice(end)) };
}

export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}
