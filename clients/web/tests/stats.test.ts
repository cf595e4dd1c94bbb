import { describe, expect, it } from 'vitest';
import type { Slot } from '../src/generated/protocol.js';
import { type Reading, summarise } from '../src/media/stats.js';

function reading(rows: Record<string, unknown>[]): Reading {
  return {
    state: 'connected',
    rows: new Map(rows.map((row) => [String(row.id), row as never])),
  };
}

const pair = [
  { id: 'transport', type: 'transport', selectedCandidatePairId: 'pair' },
  {
    id: 'pair',
    type: 'candidate-pair',
    currentRoundTripTime: 0.0123,
    availableOutgoingBitrate: 1e6,
    localCandidateId: 'local',
    remoteCandidateId: 'remote',
  },
  { id: 'local', candidateType: 'host', protocol: 'udp', address: '10.0.0.2', port: 5 },
  { id: 'remote', candidateType: 'host', protocol: 'udp', address: '10.0.0.1', port: 6 },
];

function at(nowMs: number, bytes: number, packets: number, lost: number) {
  return {
    nowMs,
    send: reading([
      ...pair,
      { id: 'codec', type: 'codec', mimeType: 'video/VP8' },
      {
        id: 'out',
        type: 'outbound-rtp',
        mid: '1',
        codecId: 'codec',
        remoteId: 'rr',
        bytesSent: bytes,
        packetsSent: packets,
        frameWidth: 640,
        frameHeight: 360,
        framesPerSecond: 30,
      },
      { id: 'rr', type: 'remote-inbound-rtp', packetsLost: lost, roundTripTime: 0.05 },
    ]),
    receive: reading([
      ...pair,
      {
        id: 'in',
        type: 'inbound-rtp',
        mid: '2',
        bytesReceived: bytes,
        packetsReceived: packets,
        packetsLost: lost,
        jitter: 0.004,
        framesDecoded: 7,
      },
    ]),
    slots: [{ mid: '2', kind: 'video', index: 0, state: 'active', trackId: 'T' }] as Slot[],
    local: [{ mid: '1', source: 'camera' as const, clientId: 'camera-1' }],
    before: undefined,
  };
}

describe('stats', () => {
  it('summarises slots, local tracks and transports', () => {
    const { stats } = summarise(at(1_000, 5_000, 10, 0));
    expect(stats.slots[0]).toMatchObject({
      mid: '2',
      trackId: 'T',
      jitterMs: 4,
      framesDecoded: 7,
      bitrate: undefined,
    });
    expect(stats.localTracks[0]).toMatchObject({
      source: 'camera',
      codec: 'VP8',
      width: 640,
      roundTripMs: 50,
      active: true,
    });
    expect(stats.receive).toEqual({
      state: 'connected',
      roundTripMs: 12.3,
      availableOutgoingBitrate: 1e6,
      localCandidate: 'host udp 10.0.0.2:5',
      remoteCandidate: 'host udp 10.0.0.1:6',
    });
  });

  it('takes rates against the reading before', () => {
    const first = summarise(at(1_000, 5_000, 10, 0));
    const before = { nowMs: 1_000, counters: first.counters };
    const { stats } = summarise({ ...at(3_000, 30_000, 90, 20), before });
    expect(stats.slots[0]).toMatchObject({ bitrate: 100_000, lossRatio: 0.2 });
    expect(stats.localTracks[0]).toMatchObject({ bitrate: 100_000, lossRatio: 0.25 });
  });

  it('has a row for a slot without media, and none for a track that is not sent', () => {
    const input = { ...at(1_000, 0, 0, 0), send: reading([]), receive: reading([]) };
    const { stats } = summarise(input);
    expect(stats.slots[0]).toMatchObject({ packetsReceived: 0, codec: undefined });
    expect(stats.localTracks).toEqual([]);
  });
});
