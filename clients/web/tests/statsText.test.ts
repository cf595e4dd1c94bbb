import { describe, expect, it } from 'vitest';
import { localText, remoteText, summary } from '../demo/src/statsText.js';
import type { CallStats, Explanation } from '../src/index.js';

const transport = {
  state: 'connected' as const,
  roundTripMs: 20,
  availableOutgoingBitrate: undefined,
  localCandidate: 'host udp 10.0.0.2:5',
  remoteCandidate: 'host udp 10.0.0.1:6',
};
const slot = {
  mid: '8',
  kind: 'video',
  index: 0,
  state: 'active',
  trackId: 'T1',
  participantId: 'p',
};
const stats = {
  timestampMs: 0,
  send: transport,
  receive: transport,
  slots: [
    { ...slot, codec: 'VP8', width: 640, height: 360, framesPerSecond: 29.7, bitrate: 480_000 },
  ],
  localTracks: [
    { source: 'camera', clientId: 'camera-1', mid: '1', rid: 'h', active: false, wanted: false },
    { source: 'camera', clientId: 'camera-1', mid: '1', rid: 'f', active: false },
    {
      source: 'camera',
      clientId: 'camera-1',
      mid: '1',
      rid: 'q',
      active: true,
      codec: 'VP8',
      width: 320,
      height: 180,
      framesPerSecond: 30,
      bitrate: 148_000,
      limitedBy: 'none',
    },
  ],
} as unknown as CallStats;
const explanation: Explanation = {
  estimate: 1_200_000,
  allocated: 560_000,
  desired: 2_300_000,
  audio: 40_000,
  rttMs: 48,
  loss: 0.012,
  slots: [
    {
      mid: '8',
      state: 'active',
      reason: 'bandwidth',
      wishedWidth: 1280,
      wishedHeight: 720,
      priority: 0,
      allocated: { spatial: 1, temporal: 2 },
      layer: { spatial: 1, temporal: 1 },
      width: 640,
      height: 360,
      bitrate: 500_000,
      lastKeyframeMs: 4_200,
    },
  ],
  tracks: [
    { trackId: 'T2', clientId: 'camera-1', wanted: { spatial: 0, temporal: 2 }, encodings: [] },
  ],
};

describe('the overlay', () => {
  it('says of a tile what was wished, what came, and why', () => {
    const text = remoteText(
      { stats, explanation },
      { source: 'camera', participantId: 'p', trackId: 'T1' },
    );
    expect(text).toContain('VP8 640×360 30 fps');
    expect(text).toContain('wished  1280×720');
    expect(text).toContain('layer   S1T1 640×360, S1T2 to come');
    expect(text).toContain('why     your connection does not carry more');
    expect(text).toContain('4.2 s ago');
  });

  it('says of our own track what is wanted and what is sent', () => {
    const text = localText({ stats, explanation }, 'camera');
    expect(text).toContain('q       VP8 320×180 30 fps 148 kbit/s');
    expect(text).toContain('h       off: nobody wants it');
    expect(text).toContain('wanted  up to S0T2');
  });

  it('says of the call what the path carries, and does without an explanation', () => {
    expect(summary({ stats, explanation })).toContain('carries 1.2 Mbit/s, RTT 48 ms, loss 1.2 %');
    expect(summary({ stats, explanation: undefined })).not.toContain('carries');
  });
});
