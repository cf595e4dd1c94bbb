/**
 * The stats overlay's words and numbers.
 *
 * Owns: what is said of a tile and of the call, as text.
 * Never: asks for anything; it is handed all it says.
 */
import type {
  CallStats,
  Explanation,
  Layer,
  LocalTrackStats,
  SlotExplanation,
  SlotStats,
} from '@convoke/client';
import { layerReason } from './words.js';

/** One reading. */
export interface Reading {
  readonly stats: CallStats;
  /** Absent while the server does not answer. */
  readonly explanation: Explanation | undefined;
}

type Rows = (readonly [string, string])[];

export function summary({ stats, explanation }: Reading): string {
  const audio = stats.slots.filter((slot) => slot.kind === 'audio');
  const video = stats.slots.filter((slot) => slot.kind === 'video');
  const used = (slots: readonly SlotStats[]) => slots.filter((s) => s.trackId !== undefined).length;
  const sum = (slots: readonly { bitrate: number | undefined }[]) =>
    slots.reduce((total, slot) => total + (slot.bitrate ?? 0), 0);
  return lines([
    [
      'send',
      `${stats.send.state}, RTT ${time(stats.send.roundTripMs)}, ${rate(sum(stats.localTracks))}`,
    ],
    ['', stats.send.localCandidate ?? ''],
    [
      'receive',
      `${stats.receive.state}, RTT ${time(stats.receive.roundTripMs)}, ${rate(sum(stats.slots))}`,
    ],
    ['', stats.receive.remoteCandidate ?? ''],
    ['slots', `${used(audio)} of ${audio.length} audio, ${used(video)} of ${video.length} video`],
    ...(explanation === undefined ? [] : budget(explanation)),
  ]);
}

function budget({ estimate, allocated, desired, rttMs, loss }: Explanation): Rows {
  return [
    ['path', `carries ${rate(estimate)}, RTT ${time(rttMs)}, loss ${percent(loss)}`],
    ['video', `${rate(allocated)} given of ${rate(desired)} wished`],
  ];
}

/** What comes in for a tile. */
export function remoteText(
  { stats, explanation }: Reading,
  tile: {
    readonly source: 'camera' | 'screen';
    readonly participantId: string;
    readonly trackId: string | undefined;
  },
): string {
  const video = stats.slots.find(
    (slot) => slot.trackId !== undefined && slot.trackId === tile.trackId,
  );
  const audio = stats.slots.find(
    (slot) => slot.kind === 'audio' && slot.participantId === tile.participantId,
  );
  const rows: Rows = [];
  if (video !== undefined) {
    const explained = explanation?.slots.find((slot) => slot.mid === video.mid);
    rows.push(
      ['video', `${video.codec ?? '–'} ${size(video)} ${fps(video)}`],
      ['rate', `${rate(video.bitrate)}, loss ${percent(video.lossRatio)}`],
      ...(explained === undefined ? [] : choice(explained)),
      ['slot', `mid ${video.mid}, ${video.state}`],
      ['RTT', time(stats.receive.roundTripMs)],
    );
  }
  if (audio !== undefined && tile.source === 'camera') {
    rows.push(
      ['audio', `${audio.codec ?? '–'} ${rate(audio.bitrate)}, loss ${percent(audio.lossRatio)}`],
      ['slot', `mid ${audio.mid}, ${audio.state}`],
    );
  }
  return rows.length === 0 ? 'no slot' : lines(rows);
}

function choice(slot: SlotExplanation): Rows {
  const { wishedWidth, wishedHeight, layer, allocated, width, height } = slot;
  const wished = wishedWidth === undefined ? 'anything' : `${wishedWidth}×${wishedHeight ?? '?'}`;
  const got = layer === undefined ? 'none' : `${layerName(layer)} ${size({ width, height })}`;
  const next =
    allocated !== undefined && layerName(allocated) !== (layer && layerName(layer))
      ? `, ${layerName(allocated)} to come`
      : '';
  return [
    ['wished', wished],
    ['layer', `${got.trim()}${next}`],
    ...(slot.reason === undefined ? [] : [['why', layerReason(slot.reason)] as const]),
    ['keyfr.', slot.lastKeyframeMs === undefined ? '–' : `${ago(slot.lastKeyframeMs)} ago`],
  ];
}

/** What goes out for a tile of ours. */
export function localText({ stats, explanation }: Reading, source: 'camera' | 'screen'): string {
  const rows: Rows = [];
  const picture = stats.localTracks.filter((track) => track.source === source);
  const first = picture[0];
  if (first !== undefined) {
    const track = explanation?.tracks.find(({ clientId }) => clientId === first.clientId);
    rows.push(
      ...[...picture].sort((one, other) => place(one) - place(other)).map(encodingRow),
      ...(track === undefined ? [] : [['wanted', wantedText(track.wanted)] as const]),
      [
        'slot',
        `mid ${first.mid}, RTT ${time(first.roundTripMs)}, loss ${percent(first.lossRatio)}`,
      ],
    );
  }
  const microphone = stats.localTracks.find((track) => track.source === 'microphone');
  if (source === 'camera' && microphone !== undefined) {
    const { codec, bitrate, mid } = microphone;
    rows.push(['audio', `${codec ?? '–'} ${rate(bitrate)}, mid ${mid}`]);
  }
  return rows.length === 0 ? 'nothing sent' : lines(rows);
}

function encodingRow(track: LocalTrackStats): readonly [string, string] {
  const name = track.rid ?? track.scalabilityMode ?? 'video';
  if (!track.active) return [name, track.wanted === false ? 'off: nobody wants it' : 'off'];
  const limit =
    track.limitedBy === undefined || track.limitedBy === 'none' ? '' : `, ${track.limitedBy}`;
  const picture = [track.codec ?? '–', size(track), fps(track)].filter(Boolean).join(' ');
  return [name, `${picture} ${rate(track.bitrate)}${limit}`];
}

/** Lowest first, as the SDK names them. */
function place({ rid }: LocalTrackStats): number {
  return ['q', 'h', 'f'].indexOf(rid ?? '');
}

function wantedText(wanted: Layer | undefined): string {
  return wanted === undefined ? 'by nobody' : `up to ${layerName(wanted)}`;
}

export function layerName({ spatial, temporal }: Layer): string {
  return `S${spatial}T${temporal}`;
}

function lines(rows: Rows): string {
  return rows.map(([name, value]) => `${name.padEnd(8)}${value}`).join('\n');
}

export function size(of: {
  readonly width?: number | undefined;
  readonly height?: number | undefined;
}): string {
  return of.width === undefined ? '' : `${of.width}×${of.height ?? '?'}`;
}

function fps(of: { framesPerSecond: number | undefined }): string {
  return of.framesPerSecond === undefined ? '' : `${Math.round(of.framesPerSecond)} fps`;
}

export function rate(bitsPerSecond: number | undefined): string {
  if (bitsPerSecond === undefined) return '–';
  if (bitsPerSecond >= 1e6) return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

function percent(share: number | undefined): string {
  return share === undefined ? '–' : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

function time(ms: number | undefined): string {
  return ms === undefined ? '–' : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function ago(ms: number): string {
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 1_000)} s`;
}
