/**
 * Messages between the apps of a call, as the ACS data channel has them.
 *
 * Owns: the way of each message (data channel where one is open, else the WebSocket), the queue of
 * durable ones and its bound.
 * Never: keeps messages for those who join later, or encrypts them end to end.
 */
import { ConvokeError } from '../errors.js';
import { Emitter } from '../events.js';
import type {
  Data,
  DataClosed,
  DataCloseReason,
  Reliability,
  SendData,
} from '../generated/protocol.js';
import type { DataPipe } from './dataPipe.js';
import {
  decodeFrame,
  encodeFrame,
  fromBase64,
  MAX_PAYLOAD_BYTES,
  MAX_RECIPIENTS,
  MAX_TOPIC_BYTES,
  toBase64,
} from './frames.js';

/** Durable: in order, until it arrives. Lossy: once, in any order. */
export type DataReliability = 'Durable' | 'Lossy';

export interface SendDataOptions {
  /** The `participantId`s of those who shall get it; default: everyone else. */
  readonly to?: readonly string[];
  /** Default: Durable. */
  readonly reliability?: DataReliability;
  /** What it is about; at most 64 bytes. */
  readonly topic?: string;
}

export interface DataMessage {
  /** The `participantId` of the sender. */
  readonly from: string;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly reliability: DataReliability;
  readonly topic: string | undefined;
}

export interface CallDataEvents {
  message: DataMessage;
  /**
   * The server closed a channel (`tooFast`: we sent too much; `slowReader`: we read too slowly).
   * Messages may have been lost; later ones go and come again.
   */
  interrupted: { readonly reliability: DataReliability; readonly reason: DataCloseReason };
}

/** @internal What the messages need from their call. */
export interface DataLink {
  callId(): string;
  pipe(reliability: Reliability): DataPipe | undefined;
  request(message: { readonly type: 'data' } & SendData): Promise<unknown>;
  csrcOf(participantId: string): number | undefined;
  participantOf(csrc: number): string | undefined;
}

/** Durable messages beyond this are refused. */
export const MAX_QUEUED_BYTES = 1024 * 1024;
/** Over the WebSocket, which has other things to carry, no more than one in this time. */
const SOCKET_PACE_MS = 30;
/** Before a channel that the server closed is opened again, where it does not say how long. */
const REOPEN_MS = 1_000;

interface Outgoing {
  readonly to: readonly string[] | undefined;
  readonly topic: string | undefined;
  readonly payload: Uint8Array;
}

interface Queued extends Outgoing {
  resolve(): void;
  reject(error: ConvokeError): void;
}

export class CallData extends Emitter<CallDataEvents> {
  readonly #link: DataLink;
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  #pumping = false;
  #lossyUnderWay = false;
  #dropped = 0;

  /** @internal */
  constructor(link: DataLink) {
    super();
    this.#link = link;
  }

  /** Lossy messages that were not sent, since there was no room. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Sends at most 16,384 bytes. Durable: resolves once handed on, rejects with `dataQueueFull` when
   * too much waits. Lossy: resolves at once, sent or not.
   */
  async send(payload: Uint8Array | string, options: SendDataOptions = {}): Promise<void> {
    const { to, topic, reliability = 'Durable' } = options;
    const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload.slice();
    check('payload', bytes.length, MAX_PAYLOAD_BYTES, 'bytes');
    check('topic', new TextEncoder().encode(topic ?? '').length, MAX_TOPIC_BYTES, 'bytes');
    check('list of recipients', to?.length ?? 0, MAX_RECIPIENTS, 'entries');
    if (to?.length === 0) return;
    const outgoing = { to, topic, payload: bytes };
    if (reliability === 'Lossy') this.#sendLossy(outgoing);
    else await this.#enqueue(outgoing);
  }

  /** @internal A frame on a data channel. */
  handleFrame(reliability: Reliability, data: ArrayBuffer): void {
    const frame = decodeFrame(data);
    const from = frame && this.#link.participantOf(frame.csrc);
    if (frame === undefined || from === undefined) return;
    this.#receive(from, reliability, frame.topic, frame.payload);
  }

  /** @internal A message on the WebSocket. */
  handleMessage({ from, reliability, topic, payload }: Data): void {
    const bytes = fromBase64(payload);
    if (bytes !== undefined) this.#receive(from, reliability, topic ?? undefined, bytes);
  }

  /** @internal */
  handleClosed({ reliability, reason, retryAfterMs }: DataClosed): void {
    this.#link.pipe(reliability)?.reopen(retryAfterMs ?? REOPEN_MS);
    this.emit('interrupted', { reliability: name(reliability), reason });
  }

  /** @internal */
  close(): void {
    const error = new ConvokeError('callEnded', 'The call has ended.');
    for (const queued of this.#queue.splice(0)) queued.reject(error);
  }

  #receive(
    from: string,
    reliability: Reliability,
    topic: string | undefined,
    payload: Uint8Array<ArrayBuffer>,
  ): void {
    this.emit('message', { from, payload, reliability: name(reliability), topic });
  }

  #sendLossy(outgoing: Outgoing): void {
    const pipe = this.#link.pipe('lossy');
    if (pipe?.open === true) {
      if (pipe.hasRoom) this.#sendFrame(pipe, outgoing);
      else this.#dropped += 1;
    } else if (this.#lossyUnderWay || this.#pumping) {
      this.#dropped += 1;
    } else {
      this.#lossyUnderWay = true;
      const done = () => {
        this.#lossyUnderWay = false;
      };
      void Promise.all([this.#request('lossy', outgoing).catch(() => undefined), pace()]).then(
        done,
      );
    }
  }

  #enqueue(outgoing: Outgoing): Promise<void> {
    if (this.#queuedBytes + outgoing.payload.length > MAX_QUEUED_BYTES) {
      throw new ConvokeError(
        'dataQueueFull',
        `More than ${MAX_QUEUED_BYTES} bytes wait to be sent; send less, or wait for earlier ones.`,
      );
    }
    this.#queuedBytes += outgoing.payload.length;
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...outgoing, resolve, reject });
      void this.#pump();
    });
  }

  /** One after the other, over whichever way there is: so order is kept when the way changes. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      try {
        await this.#sendDurable(next);
        next.resolve();
      } catch (cause) {
        next.reject(ConvokeError.from(cause));
      }
      if (this.#queue[0] === next) this.#queue.shift();
      this.#queuedBytes = this.#queue.reduce((sum, { payload }) => sum + payload.length, 0);
    }
    this.#pumping = false;
  }

  async #sendDurable(outgoing: Outgoing): Promise<void> {
    for (;;) {
      const pipe = this.#link.pipe('durable');
      if (pipe?.open === true) {
        await pipe.room();
        if (!pipe.open) continue;
        this.#sendFrame(pipe, outgoing);
        return;
      }
      const retryAfterMs = await this.#sendOverSocket(outgoing);
      if (retryAfterMs === undefined) return;
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
    }
  }

  /** Undefined: sent; else how long to wait before trying again. */
  async #sendOverSocket(outgoing: Outgoing): Promise<number | undefined> {
    try {
      await Promise.all([this.#request('durable', outgoing), pace()]);
      return undefined;
    } catch (cause) {
      const error = ConvokeError.from(cause);
      if (error.code !== 'busy') throw error;
      return error.retryAfterMs ?? REOPEN_MS;
    }
  }

  #sendFrame(pipe: DataPipe, { to, topic, payload }: Outgoing): void {
    const recipients = to?.map((id) => this.#link.csrcOf(id)).filter((csrc) => csrc !== undefined);
    // None of them is in the call; no recipients would mean everyone.
    if (recipients?.length === 0) return;
    pipe.send(encodeFrame(recipients ?? [], new TextEncoder().encode(topic ?? ''), payload));
  }

  async #request(reliability: Reliability, { to, topic, payload }: Outgoing): Promise<void> {
    await this.#link.request({
      type: 'data',
      callId: this.#link.callId(),
      reliability,
      payload: toBase64(payload),
      ...(to === undefined ? {} : { to: [...to] }),
      ...(topic === undefined ? {} : { topic }),
    });
  }
}

function check(what: string, length: number, most: number, unit: string): void {
  if (length <= most) return;
  throw new ConvokeError('dataTooBig', `The ${what} has ${length} ${unit}; at most ${most} go.`);
}

function name(reliability: Reliability): DataReliability {
  return reliability === 'lossy' ? 'Lossy' : 'Durable';
}

function pace(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SOCKET_PACE_MS));
}
