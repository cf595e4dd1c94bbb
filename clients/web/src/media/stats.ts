/**
 * A digest of `getStats()` in the words of this SDK: per slot and per local track.
 *
 * Owns: the summary, and rates against the reading before.
 * Never: polls; the app asks when it wants to know.
 */
import type { EncodingDemand, MediaKind, Slot, SlotState, Source } from '../generated/protocol.js';

/** One of the two peer connections. */
export interface TransportStats {
  readonly state: RTCPeerConnectionState;
  readonly roundTripMs: number | undefined;
  readonly availableOutgoingBitrate: number | undefined;
  readonly localCandidate: string | undefined;
  readonly remoteCandidate: string | undefined;
}

interface RtpStats {
  readonly mid: string;
  readonly codec: string | undefined;
  readonly width: number | undefined;
  readonly height: number | undefined;
  readonly framesPerSecond: number | undefined;
  /** Bits per second since the reading before; undefined at the first. */
  readonly bitrate: number | undefined;
  /** Packets lost of those sent, 0 to 1, since the reading before. */
  readonly lossRatio: number | undefined;
}

/** What comes in on a slot. */
export interface SlotStats extends RtpStats {
  readonly kind: MediaKind;
  readonly index: number;
  readonly state: SlotState;
  readonly participantId: string | undefined;
  readonly trackId: string | undefined;
  readonly packetsReceived: number;
  readonly packetsLost: number;
  readonly jitterMs: number | undefined;
  readonly jitterBufferMs: number | undefined;
  readonly framesDecoded: number | undefined;
  readonly keyFramesDecoded: number | undefined;
  readonly framesDropped: number | undefined;
  readonly freezeCount: number | undefined;
  readonly freezesMs: number | undefined;
  readonly pliCount: number | undefined;
  readonly nackCount: number | undefined;
  readonly audioLevel: number | undefined;
  readonly totalAudioEnergy: number | undefined;
  readonly concealedSamples: number | undefined;
  readonly decoder: string | undefined;
}

/** What goes out for one encoding of a local track. */
export interface LocalTrackStats extends RtpStats {
  readonly source: Source;
  readonly clientId: string | undefined;
  /** The simulcast encoding; undefined where there is only one. */
  readonly rid: string | undefined;
  readonly scalabilityMode: string | undefined;
  /** Whether anybody wants it; undefined until the server has said so. */
  readonly wanted: boolean | undefined;
  /** Whether it is sent. */
  readonly active: boolean;
  readonly packetsSent: number;
  readonly framesEncoded: number | undefined;
  readonly targetBitrate: number | undefined;
  readonly limitedBy: string | undefined;
  readonly roundTripMs: number | undefined;
  readonly encoder: string | undefined;
}

export interface CallStats {
  readonly timestampMs: number;
  readonly send: TransportStats;
  readonly receive: TransportStats;
  readonly slots: readonly SlotStats[];
  readonly localTracks: readonly LocalTrackStats[];
}

/** The fields that are read; browsers differ in which they have. */
type Row = Record<string, unknown> & { readonly id: string; readonly type: string };

/** @internal One peer connection's report with its state. */
export interface Reading {
  readonly state: RTCPeerConnectionState;
  readonly rows: ReadonlyMap<string, Row>;
}

/** @internal Counters to take rates against. */
export type Counters = ReadonlyMap<string, { bytes: number; packets: number; lost: number }>;

interface LocalInput {
  readonly mid: string;
  readonly source: Source;
  readonly clientId: string | undefined;
  readonly demand?: readonly EncodingDemand[] | undefined;
}

/** @internal */
export interface StatsInput {
  readonly nowMs: number;
  readonly send: Reading;
  readonly receive: Reading;
  readonly slots: readonly Slot[];
  readonly local: readonly LocalInput[];
  readonly before: { readonly nowMs: number; readonly counters: Counters } | undefined;
}

/** @internal */
export async function readStats(pc: RTCPeerConnection): Promise<Reading> {
  const rows = new Map<string, Row>();
  (await pc.getStats()).forEach((row: Row) => {
    rows.set(row.id, row);
  });
  return { state: pc.connectionState, rows };
}

/** @internal Pure, so that tests need no browser. */
export function summarise(input: StatsInput): { stats: CallStats; counters: Counters } {
  const counters = new Map<string, { bytes: number; packets: number; lost: number }>();
  const inbound = byMid(input.receive, 'inbound-rtp');
  const slots = input.slots.map((slot) => {
    const row = inbound.get(slot.mid)?.[0];
    const key = `in/${slot.mid}`;
    const now = {
      bytes: number(row, 'bytesReceived') ?? 0,
      packets: number(row, 'packetsReceived') ?? 0,
      lost: number(row, 'packetsLost') ?? 0,
    };
    counters.set(key, now);
    return slotStats(slot, row, input.receive, rates(input, key, now, now.packets));
  });
  const outbound = byMid(input.send, 'outbound-rtp');
  const localTracks = input.local.flatMap((local) =>
    (outbound.get(local.mid) ?? []).map((row) => {
      const remote = related(input.send, row, 'remoteId');
      const key = `out/${row.id}`;
      const now = {
        bytes: number(row, 'bytesSent') ?? 0,
        packets: number(row, 'packetsSent') ?? 0,
        lost: number(remote, 'packetsLost') ?? 0,
      };
      counters.set(key, now);
      return trackStats(local, row, remote, input.send, rates(input, key, now, 0));
    }),
  );
  const stats: CallStats = {
    timestampMs: input.nowMs,
    send: transportStats(input.send),
    receive: transportStats(input.receive),
    slots,
    localTracks,
  };
  return { stats, counters };
}

interface Rates {
  readonly bitrate: number | undefined;
  readonly lossRatio: number | undefined;
}

/** `received` is 0 for what we send: there `packets` already counts the lost ones. */
function rates(
  input: StatsInput,
  key: string,
  now: { bytes: number; packets: number; lost: number },
  received: number,
): Rates {
  const old = input.before?.counters.get(key);
  const seconds = (input.nowMs - (input.before?.nowMs ?? 0)) / 1000;
  if (old === undefined || seconds <= 0) return { bitrate: undefined, lossRatio: undefined };
  const lost = Math.max(0, now.lost - old.lost);
  const packets = now.packets - old.packets + (received === 0 ? 0 : lost);
  return {
    bitrate: Math.max(0, Math.round(((now.bytes - old.bytes) * 8) / seconds)),
    lossRatio: packets <= 0 ? 0 : Math.min(1, lost / packets),
  };
}

function slotStats(slot: Slot, row: Row | undefined, reading: Reading, rate: Rates): SlotStats {
  return {
    mid: slot.mid,
    kind: slot.kind,
    index: slot.index,
    state: slot.state,
    participantId: slot.participantId,
    trackId: slot.trackId,
    ...rate,
    ...picture(row, reading),
    packetsReceived: number(row, 'packetsReceived') ?? 0,
    packetsLost: number(row, 'packetsLost') ?? 0,
    jitterMs: ms(number(row, 'jitter')),
    jitterBufferMs: ms(
      ratio(number(row, 'jitterBufferDelay'), number(row, 'jitterBufferEmittedCount')),
    ),
    framesDecoded: number(row, 'framesDecoded'),
    keyFramesDecoded: number(row, 'keyFramesDecoded'),
    framesDropped: number(row, 'framesDropped'),
    freezeCount: number(row, 'freezeCount'),
    freezesMs: ms(number(row, 'totalFreezesDuration')),
    pliCount: number(row, 'pliCount'),
    nackCount: number(row, 'nackCount'),
    audioLevel: number(row, 'audioLevel'),
    totalAudioEnergy: number(row, 'totalAudioEnergy'),
    concealedSamples: number(row, 'concealedSamples'),
    decoder: text(row, 'decoderImplementation'),
  };
}

function trackStats(
  local: LocalInput,
  row: Row,
  remote: Row | undefined,
  reading: Reading,
  rate: Rates,
): LocalTrackStats {
  return {
    mid: local.mid,
    source: local.source,
    clientId: local.clientId,
    ...rate,
    ...picture(row, reading),
    rid: text(row, 'rid'),
    scalabilityMode: text(row, 'scalabilityMode'),
    wanted: local.demand?.some((demand) => demand.active && demand.rid === text(row, 'rid')),
    active: row.active !== false,
    packetsSent: number(row, 'packetsSent') ?? 0,
    framesEncoded: number(row, 'framesEncoded'),
    targetBitrate: number(row, 'targetBitrate'),
    limitedBy: text(row, 'qualityLimitationReason'),
    roundTripMs: ms(number(remote, 'roundTripTime')),
    encoder: text(row, 'encoderImplementation'),
  };
}

function picture(row: Row | undefined, reading: Reading) {
  const codec = row === undefined ? undefined : text(related(reading, row, 'codecId'), 'mimeType');
  return {
    codec: codec?.split('/')[1],
    width: number(row, 'frameWidth'),
    height: number(row, 'frameHeight'),
    framesPerSecond: number(row, 'framesPerSecond'),
  };
}

function transportStats(reading: Reading): TransportStats {
  const pair = selectedPair(reading);
  return {
    state: reading.state,
    roundTripMs: ms(number(pair, 'currentRoundTripTime')),
    availableOutgoingBitrate: number(pair, 'availableOutgoingBitrate'),
    localCandidate: candidate(pair && related(reading, pair, 'localCandidateId')),
    remoteCandidate: candidate(pair && related(reading, pair, 'remoteCandidateId')),
  };
}

function selectedPair(reading: Reading): Row | undefined {
  for (const row of reading.rows.values()) {
    if (row.type === 'transport') {
      const pair = related(reading, row, 'selectedCandidatePairId');
      if (pair !== undefined) return pair;
    }
    // Firefox has no `selectedCandidatePairId`.
    if (row.type === 'candidate-pair' && row.selected === true) return row;
  }
  return undefined;
}

function candidate(row: Row | undefined): string | undefined {
  if (row === undefined) return undefined;
  const address = text(row, 'address') ?? text(row, 'ip') ?? 'hidden';
  return `${text(row, 'candidateType') ?? '?'} ${text(row, 'protocol') ?? '?'} ${address}:${number(row, 'port') ?? '?'}`;
}

function byMid(reading: Reading, type: string): Map<string, Row[]> {
  const rows = new Map<string, Row[]>();
  for (const row of reading.rows.values()) {
    const mid = row.type === type ? text(row, 'mid') : undefined;
    if (mid !== undefined) rows.set(mid, [...(rows.get(mid) ?? []), row]);
  }
  return rows;
}

function related(reading: Reading, row: Row, field: string): Row | undefined {
  const id = text(row, field);
  return id === undefined ? undefined : reading.rows.get(id);
}

function number(row: Row | undefined, field: string): number | undefined {
  const value = row?.[field];
  return typeof value === 'number' ? value : undefined;
}

function text(row: Row | undefined, field: string): string | undefined {
  const value = row?.[field];
  return typeof value === 'string' ? value : undefined;
}

function ms(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 100_000) / 100;
}

function ratio(sum: number | undefined, count: number | undefined): number | undefined {
  return sum === undefined || count === undefined || count === 0 ? undefined : sum / count;
}
