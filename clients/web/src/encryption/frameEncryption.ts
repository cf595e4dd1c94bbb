/**
 * Puts the encryption worker between encoders, decoders and the network.
 *
 * Owns: the worker of one call, and what it says of frames that could not be opened.
 * Never: falls back to sending in the clear.
 */
import { ConvokeError } from '../errors.js';
import { Emitter } from '../events.js';
import type { FrameCounts } from './frameTransform.js';
import type { EncryptionKeyring } from './keyring.js';
import type { FromWorker, ToWorker, TransformOptions } from './messages.js';

type End = RTCRtpSender | RTCRtpReceiver;

/** Not in TypeScript's DOM types; Chromium had it before `RTCRtpScriptTransform`. */
interface LegacyEnd {
  createEncodedStreams(): { readable: ReadableStream; writable: WritableStream };
}

interface FrameEncryptionEvents {
  /** Frames of this receiver were dropped since the last event. */
  failed: { readonly receiver: RTCRtpReceiver; readonly frames: number };
}

export class FrameEncryption extends Emitter<FrameEncryptionEvents> {
  readonly #keys: EncryptionKeyring;
  readonly #worker: Worker;
  readonly #ids = new Map<End, number>();
  readonly #counts = new Map<number, FrameCounts>();
  #nextId = 1;

  constructor(keys: EncryptionKeyring) {
    super();
    if (!canTransform()) {
      throw new ConvokeError('notSupported', 'This browser cannot encrypt end to end.');
    }
    this.#keys = keys;
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#onCounts(data.counts);
    keys.on('changed', this.#sendKeys);
    this.#sendKeys();
  }

  /** Part of the configuration of each peer connection. */
  get configuration(): RTCConfiguration {
    const legacy = { encodedInsertableStreams: true };
    return scriptTransform() === undefined ? (legacy as RTCConfiguration) : {};
  }

  /** Before anything is sent or received there. */
  attach(pc: RTCPeerConnection): void {
    for (const { sender, receiver, direction } of pc.getTransceivers()) {
      if (direction === 'sendonly') this.#attach(sender, 'send');
      else this.#attach(receiver, 'receive');
    }
  }

  /** Tells the worker what was negotiated, for browsers whose frames do not name their codec. */
  negotiated(pc: RTCPeerConnection): void {
    for (const { sender } of pc.getTransceivers()) {
      const id = this.#ids.get(sender);
      if (id === undefined) continue;
      const codecs = new Map(
        sender
          .getParameters()
          .codecs.map((codec) => [
            codec.payloadType,
            codec.mimeType.split('/')[1]?.toLowerCase() ?? '',
          ]),
      );
      this.#post({ type: 'codecs', id, codecs });
    }
  }

  /** Frames of this sender or receiver so far. */
  counts(end: End): FrameCounts {
    return this.#counts.get(this.#ids.get(end) ?? 0) ?? { passed: 0, failed: 0 };
  }

  /** The transport is gone. */
  detach(pc: RTCPeerConnection): void {
    for (const { sender, receiver } of pc.getTransceivers()) {
      this.#ids.delete(sender);
      this.#ids.delete(receiver);
    }
  }

  close(): void {
    this.#keys.off('changed', this.#sendKeys);
    this.#worker.terminate();
    this.#ids.clear();
  }

  #attach(end: End, direction: TransformOptions['direction']): void {
    const options = { id: this.#nextId, direction };
    this.#nextId += 1;
    this.#ids.set(end, options.id);
    const Transform = scriptTransform();
    if (Transform !== undefined) {
      end.transform = new Transform(this.#worker, options);
      return;
    }
    const { readable, writable } = (end as unknown as LegacyEnd).createEncodedStreams();
    this.#post({ type: 'streams', options, readable, writable }, [readable, writable]);
  }

  #onCounts(counts: ReadonlyMap<number, FrameCounts>): void {
    for (const [end, id] of this.#ids) {
      const now = counts.get(id);
      if (now === undefined) continue;
      const frames = now.failed - (this.#counts.get(id)?.failed ?? 0);
      this.#counts.set(id, now);
      if (frames > 0 && 'getContributingSources' in end) {
        this.emit('failed', { receiver: end, frames });
      }
    }
  }

  readonly #sendKeys = (): void => this.#post({ type: 'keys', keys: this.#keys.keys });

  #post(message: ToWorker, transfer: Transferable[] = []): void {
    this.#worker.postMessage(message, transfer);
  }
}

function scriptTransform(): typeof RTCRtpScriptTransform | undefined {
  return typeof RTCRtpScriptTransform === 'undefined' ? undefined : RTCRtpScriptTransform;
}

function canTransform(): boolean {
  return (
    scriptTransform() !== undefined ||
    (typeof RTCRtpSender !== 'undefined' && 'createEncodedStreams' in RTCRtpSender.prototype)
  );
}
