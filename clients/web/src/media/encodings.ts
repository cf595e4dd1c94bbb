/**
 * What a video source is sent as: how many encodings, how large, with how many bits.
 *
 * Owns: the arithmetic, as pure functions from sizes to encodings.
 * Never: touches a sender; `SenderTuner` does.
 */
import type { Encoding, Source } from '../generated/protocol.js';

export type VideoCodec = 'VP8' | 'VP9' | 'H264' | 'AV1';

/** How the camera or the screen is sent; fixed for a call, since the m-lines are. */
export interface VideoPublishOptions {
  /** Preferred where browser and server have it; default VP8. */
  readonly codec?: VideoCodec;
  /**
   * Sends one encoding with these layers instead of simulcast (W3C WebRTC-SVC): `L3T3_KEY`,
   * `L3T3`, `L1T3` with VP9 or AV1. Browsers that do not know it send one plain encoding.
   */
  readonly scalabilityMode?: string;
  /** Several encodings of different sizes; default true, unless a `scalabilityMode` is given. */
  readonly simulcast?: boolean;
}

/** The sources that have pictures. */
export type VideoSource = Extract<Source, 'camera' | 'screen'>;

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** One encoding as it should be sent. */
export interface PlannedEncoding extends Size {
  /** Absent for the only encoding of a track. */
  readonly rid?: string;
  readonly scaleResolutionDownBy: number;
  readonly maxBitrate: number;
  readonly maxFramerate?: number;
}

/** What the m-line is offered with; later a sender can only leave some of it out. */
export interface Envelope {
  /** Lowest first; one `undefined` for a single encoding. */
  readonly rids: readonly (string | undefined)[];
  /** For every encoding. */
  readonly scalabilityMode: string;
}

const RIDS: Record<VideoSource, readonly string[]> = {
  camera: ['q', 'h', 'f'],
  screen: ['h', 'f'],
};
const ASSUMED: Record<VideoSource, Size> = {
  camera: { width: 1280, height: 720 },
  screen: { width: 1920, height: 1080 },
};
/** Frames over which layers can be thinned out; VP9 and AV1 need it said to send simulcast. */
const TEMPORAL = 'L1T3';

export function envelope(source: VideoSource, options: VideoPublishOptions): Envelope {
  const { scalabilityMode, simulcast = scalabilityMode === undefined } = options;
  const single = !simulcast || /^[LS][2-9]/.test(scalabilityMode ?? '');
  return {
    rids: single ? [undefined] : RIDS[source],
    scalabilityMode: scalabilityMode ?? TEMPORAL,
  };
}

/**
 * The encodings that a picture of this size is worth, lowest first: none under about 160 by 90, and
 * no more than Chromium sends at that size (its simulcast table), which takes the first RIDs.
 */
export function planEncodings(
  source: VideoSource,
  captured: Partial<Size>,
  rids: Envelope['rids'],
): PlannedEncoding[] {
  const { width = ASSUMED[source].width, height = ASSUMED[source].height } = captured;
  const count = Math.min(rids.length, worth(width * height));
  return rids.slice(0, count).map((rid, index) => {
    const scale = 2 ** (count - 1 - index);
    const size = { width: Math.floor(width / scale), height: Math.floor(height / scale) };
    return {
      ...(rid === undefined ? {} : { rid }),
      ...size,
      scaleResolutionDownBy: scale,
      ...(source === 'camera'
        ? { maxBitrate: cameraBitrate(size) }
        : { maxBitrate: screenBitrate(size), maxFramerate: scale === 1 ? 30 : 15 }),
    };
  });
}

function worth(pixels: number): number {
  if (pixels >= 960 * 540) return 3;
  return pixels >= 480 * 270 ? 2 : 1;
}

/** The declaration for the server. */
export function declared(encodings: readonly PlannedEncoding[]): Encoding[] {
  return encodings.map(({ scaleResolutionDownBy: _, ...encoding }) => encoding);
}

/** 150, 500 and 1700 kbit/s for 180, 360 and 720 lines; more pixels need fewer bits each. */
export function cameraBitrate({ width, height }: Size): number {
  return scaled(1_700_000, (width * height) / (1280 * 720), 0.88, 4_000_000);
}

/** 2.5 Mbit/s for 1080 lines; text needs its bits at small sizes too. */
export function screenBitrate({ width, height }: Size): number {
  return scaled(2_500_000, (width * height) / (1920 * 1080), 0.7, 5_000_000);
}

function scaled(bitrate: number, share: number, exponent: number, most: number): number {
  const exact = bitrate * share ** exponent;
  return Math.min(most, Math.max(30_000, Math.round(exact / 10_000) * 10_000));
}
