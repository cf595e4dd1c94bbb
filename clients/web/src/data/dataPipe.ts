/**
 * The data channel of one kind on one peer connection, opened anew when the server closes it.
 *
 * Owns: the channel and what the browser has buffered for it.
 * Never: holds messages back; `CallData` asks for room before it sends.
 */
import type { Reliability } from '../generated/protocol.js';

/** More than this is not handed to the browser; beyond it, we wait or drop. */
const FULL_BYTES = 256 * 1024;
const LOW_BYTES = 64 * 1024;
/** Lossy messages are of no use late. */
const LOSSY_FULL_BYTES = 32 * 1024;

const PROPERTIES: Record<Reliability, RTCDataChannelInit> = {
  durable: { ordered: true },
  lossy: { ordered: false, maxRetransmits: 0 },
};

export class DataPipe {
  readonly #pc: RTCPeerConnection;
  readonly #reliability: Reliability;
  readonly #onMessage: (data: ArrayBuffer) => void;
  readonly #waiting = new Set<() => void>();
  #channel: RTCDataChannel;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Before the first offer, which then has the section for it. */
  constructor(
    pc: RTCPeerConnection,
    reliability: Reliability,
    onMessage: (data: ArrayBuffer) => void,
  ) {
    this.#pc = pc;
    this.#reliability = reliability;
    this.#onMessage = onMessage;
    this.#channel = this.#open();
  }

  /** False for ever where the server has no data channels. */
  get open(): boolean {
    return this.#channel.readyState === 'open';
  }

  /** Whether there is room for another message. */
  get hasRoom(): boolean {
    const most = this.#reliability === 'lossy' ? LOSSY_FULL_BYTES : FULL_BYTES;
    return this.#channel.bufferedAmount < most;
  }

  /** Resolves when there may be room, or when the channel is open no more. */
  room(): Promise<void> {
    if (!this.open || this.hasRoom) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
    });
  }

  /** Throws where the channel is not open. */
  send(frame: Uint8Array<ArrayBuffer>): void {
    this.#channel.send(frame);
  }

  /** The server closed the channel: opens another after a while. */
  reopen(afterMs: number): void {
    this.#drop();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#pc.signalingState !== 'closed') this.#channel = this.#open();
    }, afterMs);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#drop();
  }

  #open(): RTCDataChannel {
    const channel = this.#pc.createDataChannel(this.#reliability, PROPERTIES[this.#reliability]);
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = LOW_BYTES;
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (data instanceof ArrayBuffer) this.#onMessage(data);
    };
    channel.onbufferedamountlow = this.#wake;
    channel.onclose = this.#wake;
    return channel;
  }

  /** What still comes on a closed channel is not heard: it could come out of order. */
  #drop(): void {
    this.#channel.onmessage = null;
    this.#channel.close();
    this.#wake();
  }

  readonly #wake = (): void => {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  };
}

export type DataPipes = Record<Reliability, DataPipe>;

export function openPipes(
  pc: RTCPeerConnection,
  onMessage: (reliability: Reliability, data: ArrayBuffer) => void,
): DataPipes {
  return {
    durable: new DataPipe(pc, 'durable', (data) => onMessage('durable', data)),
    lossy: new DataPipe(pc, 'lossy', (data) => onMessage('lossy', data)),
  };
}
