/**
 * What page and encryption worker say to each other.
 *
 * Owns: the types.
 * Never: holds code.
 */
import type { FrameCounts, Keys } from './frameTransform.js';

/** Names one sender or receiver; handed to `RTCRtpScriptTransform`. */
export interface TransformOptions {
  readonly id: number;
  readonly direction: 'send' | 'receive';
}

export type ToWorker =
  | { readonly type: 'keys'; readonly keys: Keys }
  /** By payload type: codec names in lower case. */
  | { readonly type: 'codecs'; readonly id: number; readonly codecs: ReadonlyMap<number, string> }
  /** Where there is no `RTCRtpScriptTransform`. */
  | {
      readonly type: 'streams';
      readonly options: TransformOptions;
      readonly readable: ReadableStream;
      readonly writable: WritableStream;
    };

/** Once a second, those whose counts changed. */
export interface FromWorker {
  readonly type: 'counts';
  readonly counts: ReadonlyMap<number, FrameCounts>;
}
