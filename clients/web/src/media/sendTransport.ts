/**
 * The peer connection that sends: one m-line for each source, in a fixed order, for ever.
 *
 * Owns: its transceivers and what feeds them. A toggle replaces a track and renegotiates nothing.
 * Never: speaks to the server; `Call` carries offers and answers.
 */
import type { Source } from '../generated/protocol.js';

/** The order of the m-lines. */
export const SEND_SOURCES: readonly Source[] = ['microphone', 'camera', 'screen', 'screenAudio'];

const KIND: Record<Source, 'audio' | 'video'> = {
  microphone: 'audio',
  camera: 'video',
  screen: 'video',
  screenAudio: 'audio',
};

/** Bits per second for a camera of so many lines; one encoding serves everyone. */
export function cameraBitrate(height: number): number {
  if (height <= 240) return 300_000;
  if (height <= 360) return 700_000;
  if (height <= 540) return 1_200_000;
  if (height <= 720) return 1_800_000;
  return 3_000_000;
}

const SCREEN_BITRATE = 2_500_000;
const SCREEN_AUDIO_BITRATE = 96_000;
const MICROPHONE_BITRATE = 40_000;

function bitrate(source: Source, track: MediaStreamTrack | null): number {
  if (source === 'camera') return cameraBitrate(track?.getSettings().height ?? 360);
  if (source === 'screen') return SCREEN_BITRATE;
  return source === 'screenAudio' ? SCREEN_AUDIO_BITRATE : MICROPHONE_BITRATE;
}

/** Not in TypeScript's DOM types; Chromium has it. */
type SendParameters = RTCRtpSendParameters & { degradationPreference?: string };

export class SendTransport {
  readonly pc: RTCPeerConnection;
  readonly #transceivers = new Map<Source, RTCRtpTransceiver>();

  constructor(pc: RTCPeerConnection) {
    this.pc = pc;
    for (const source of SEND_SOURCES) {
      const transceiver = pc.addTransceiver(KIND[source], {
        direction: 'sendonly',
        sendEncodings: [{ maxBitrate: bitrate(source, null) }],
      });
      this.#transceivers.set(source, transceiver);
    }
  }

  /** The `a=mid` of a source's m-line, known once the first offer is set. */
  mid(source: Source): string {
    return this.#transceivers.get(source)?.mid ?? '';
  }

  sender(source: Source): RTCRtpSender | undefined {
    return this.#transceivers.get(source)?.sender;
  }

  /** Starts, swaps or (null) stops what a source sends. */
  async setTrack(source: Source, track: MediaStreamTrack | null): Promise<void> {
    const sender = this.#transceivers.get(source)?.sender;
    if (sender === undefined || this.pc.signalingState === 'closed') return;
    if (track !== null && source === 'screen') track.contentHint = 'detail';
    if (track !== null && source === 'microphone') track.contentHint = 'speech';
    await sender.replaceTrack(track);
    if (track !== null) await this.#tune(source, sender, track);
  }

  close(): void {
    this.pc.close();
  }

  async #tune(source: Source, sender: RTCRtpSender, track: MediaStreamTrack): Promise<void> {
    const parameters: SendParameters = sender.getParameters();
    const encoding = parameters.encodings[0];
    if (encoding === undefined) return;
    encoding.maxBitrate = bitrate(source, track);
    if (source === 'screen') parameters.degradationPreference = 'maintain-resolution';
    if (source === 'camera') parameters.degradationPreference = 'balanced';
    try {
      await sender.setParameters(parameters);
    } catch {
      // Only tuning: what the browser does by itself serves as well.
    }
  }
}
