/**
 * The peer connection that sends: one m-line for each source, in a fixed order, for ever.
 *
 * Owns: its transceivers and what feeds them. A toggle replaces a track and renegotiates nothing.
 * Never: speaks to the server; `Call` carries offers and answers.
 */
import type { EncodingDemand, Source } from '../generated/protocol.js';
import { preferInAnswer, preferInOffer, withoutRedundancy } from './codecOrder.js';
import {
  type Envelope,
  envelope,
  type PlannedEncoding,
  planEncodings,
  type VideoPublishOptions,
  type VideoSource,
} from './encodings.js';
import { askForDependencyDescriptor } from './headerExtensions.js';
import { SenderTuner } from './senderTuner.js';
import { withStartBitrate } from './startBitrate.js';

/** The order of the m-lines. */
export const SEND_SOURCES: readonly Source[] = ['microphone', 'camera', 'screen', 'screenAudio'];

/** How each picture is sent, and sound. */
export type SendOptions = { readonly [S in VideoSource]?: VideoPublishOptions | undefined } & {
  /** Whether all is encrypted end to end; then there is no redundant audio, which servers open. */
  readonly encrypted?: boolean;
};

const DEFAULT_CODEC = 'VP8';
const AUDIO_BITRATE: Record<Exclude<Source, VideoSource>, number> = {
  microphone: 40_000,
  screenAudio: 96_000,
};

interface Line {
  readonly transceiver: RTCRtpTransceiver;
  readonly tuner: SenderTuner | undefined;
}

export class SendTransport {
  readonly pc: RTCPeerConnection;
  readonly #options: SendOptions;
  readonly #lines = new Map<Source, Line>();

  constructor(pc: RTCPeerConnection, options: SendOptions = {}) {
    this.pc = pc;
    this.#options = options;
    for (const source of SEND_SOURCES) {
      this.#lines.set(source, isVideo(source) ? this.#addVideo(source) : this.#addAudio(source));
    }
  }

  /** The `a=mid` of a source's m-line, known once the first offer is set. */
  mid(source: Source): string {
    return this.#lines.get(source)?.transceiver.mid ?? '';
  }

  sender(source: Source): RTCRtpSender | undefined {
    return this.#lines.get(source)?.transceiver.sender;
  }

  /** Starts, swaps or (null) stops what a source sends. */
  async setTrack(source: Source, track: MediaStreamTrack | null): Promise<void> {
    const line = this.#lines.get(source);
    if (line === undefined || this.pc.signalingState === 'closed') return;
    if (track !== null && source === 'screen') track.contentHint = 'detail';
    if (track !== null && source === 'microphone') track.contentHint = 'speech';
    // First, so that no picture goes out in a wrong size.
    if (track !== null && isVideo(source)) {
      await line.tuner?.plan(encodingsOf(source, track, this.#options));
    }
    await line.transceiver.sender.replaceTrack(track);
  }

  /** Sends the encodings that are wanted and no others; undefined: all. */
  async setDemand(source: Source, demand: readonly EncodingDemand[] | undefined): Promise<void> {
    await this.#lines.get(source)?.tuner?.demand(demand);
  }

  /** The server's answer as the browser should get it. */
  adapted(sdp: string): string {
    const codecs = SEND_SOURCES.filter(isVideo).map(
      (source) => [this.mid(source), this.#options[source]?.codec ?? DEFAULT_CODEC] as const,
    );
    return withStartBitrate(preferInAnswer(sdp, new Map(codecs)));
  }

  /** After an answer, which may have changed what the senders hold. */
  async negotiated(): Promise<void> {
    await Promise.all([...this.#lines.values()].map(({ tuner }) => tuner?.apply()));
  }

  close(): void {
    this.pc.close();
  }

  #addAudio(source: Exclude<Source, VideoSource>): Line {
    const transceiver = this.pc.addTransceiver('audio', {
      direction: 'sendonly',
      sendEncodings: [{ maxBitrate: AUDIO_BITRATE[source] }],
    });
    if (this.#options.encrypted) withoutRedundancy(transceiver);
    return { transceiver, tuner: undefined };
  }

  #addVideo(source: VideoSource): Line {
    const options = this.#options[source] ?? {};
    const offered = envelope(source, options);
    const transceiver = addVideo(this.pc, offered, planEncodings(source, {}, offered.rids));
    preferInOffer(transceiver, options.codec ?? DEFAULT_CODEC);
    askForDependencyDescriptor(transceiver);
    const degradation = source === 'screen' ? 'maintain-resolution' : 'balanced';
    return { transceiver, tuner: new SenderTuner(transceiver.sender, degradation) };
  }
}

export function isVideo(source: Source): source is VideoSource {
  return source === 'camera' || source === 'screen';
}

/** What a track is sent as. */
export function encodingsOf(
  source: VideoSource,
  track: MediaStreamTrack,
  options: SendOptions,
): PlannedEncoding[] {
  const { width, height } = track.getSettings();
  const known = width !== undefined && height !== undefined && width * height > 0;
  const { rids } = envelope(source, options[source] ?? {});
  return planEncodings(source, known ? { width, height } : {}, rids);
}

function addVideo(
  pc: RTCPeerConnection,
  { scalabilityMode }: Envelope,
  plan: readonly PlannedEncoding[],
): RTCRtpTransceiver {
  const sendEncodings = plan.map(({ width: _, height: __, ...encoding }) => encoding);
  try {
    return pc.addTransceiver('video', {
      direction: 'sendonly',
      sendEncodings: sendEncodings.map((encoding) => ({ ...encoding, scalabilityMode })),
    });
  } catch {
    // A browser that knows the word, but not this mode.
    return pc.addTransceiver('video', { direction: 'sendonly', sendEncodings });
  }
}
