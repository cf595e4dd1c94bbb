/**
 * The worker in which frames are sealed and opened, off the page's thread.
 *
 * Owns: the transforms of one call, and its copy of the keys.
 * Never: sends a key anywhere.
 */
import {
  type EncodedFrame,
  type FrameCounts,
  FrameTransform,
  type Keys,
} from './frameTransform.js';
import type { FromWorker, ToWorker, TransformOptions } from './messages.js';

/** `RTCRtpScriptTransformer` (W3C WebRTC Encoded Transform). */
interface Transformer {
  readonly options: TransformOptions;
  readonly readable: ReadableStream<EncodedFrame>;
  readonly writable: WritableStream<EncodedFrame>;
  sendKeyFrameRequest?(): Promise<void>;
}

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  onrtctransform: ((event: Event & { readonly transformer: Transformer }) => void) | null;
  postMessage(message: FromWorker): void;
}

const REPORT_MS = 1_000;
const scope = self as unknown as WorkerScope;
const transforms = new Map<number, FrameTransform>();
const codecs = new Map<number, ReadonlyMap<number, string>>();
const reported = new Map<number, number>();
let keys: Keys = { byIndex: new Map(), sendIndex: undefined };

scope.onmessage = ({ data }) => {
  if (data.type === 'keys') keys = data.keys;
  else if (data.type === 'streams') pipe({ ...data });
  else {
    codecs.set(data.id, data.codecs);
    transforms.get(data.id)?.setCodecs(data.codecs);
  }
};
scope.onrtctransform = ({ transformer }) => pipe(transformer);
setInterval(report, REPORT_MS);

function pipe(transformer: Transformer): void {
  const { id, direction } = transformer.options;
  const transform = new FrameTransform(
    direction,
    () => keys,
    () => void transformer.sendKeyFrameRequest?.().catch(() => undefined),
  );
  transform.setCodecs(codecs.get(id) ?? new Map());
  transforms.set(id, transform);
  const stream = new TransformStream<EncodedFrame, EncodedFrame>({
    async transform(frame, controller) {
      if (await transform.apply(frame)) controller.enqueue(frame);
    },
  });
  // Ends with its transport.
  transformer.readable
    .pipeThrough(stream)
    .pipeTo(transformer.writable)
    .catch(() => undefined)
    .finally(() => transforms.delete(id));
}

function report(): void {
  const counts = new Map<number, FrameCounts>();
  for (const [id, { counts: now }] of transforms) {
    const total = now.passed + now.failed;
    if (reported.get(id) === total) continue;
    reported.set(id, total);
    counts.set(id, now);
  }
  if (counts.size > 0) scope.postMessage({ type: 'counts', counts });
}
