/**
 * The stats overlay: numbers on each tile, and a summary of both transports.
 *
 * Owns: the polling while it is open, and the text.
 * Never: runs while it is closed.
 */
import type { Call, CallStats, LocalTrackStats, SlotStats } from '@convoke/client';
import { h, toggle } from './dom.js';
import { isLocal, RemoteTile, type Tile } from './tile.js';

const POLL_MS = 1_000;

export class StatsOverlay {
  readonly element = h('aside', {
    class: 'stats-panel',
    'aria-label': 'Connection statistics',
    'data-testid': 'stats-overlay',
    hidden: true,
  });
  readonly #call: Call;
  readonly #tiles: () => Iterable<Tile>;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(call: Call, tiles: () => Iterable<Tile>) {
    this.#call = call;
    this.#tiles = tiles;
  }

  get open(): boolean {
    return this.#timer !== undefined;
  }

  toggle(): void {
    if (this.open) this.close();
    else {
      this.#timer = setInterval(() => void this.#poll(), POLL_MS);
      toggle(this.element, true);
      void this.#poll();
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    toggle(this.element, false);
    for (const tile of this.#tiles()) toggle(tile.stats, false);
  }

  async #poll(): Promise<void> {
    let stats: CallStats;
    try {
      stats = await this.#call.getStats();
    } catch {
      return;
    }
    if (!this.open) return;
    this.element.replaceChildren(h('pre', {}, summary(stats)));
    for (const tile of this.#tiles()) {
      tile.stats.textContent = isLocal(tile)
        ? localText(stats, tile.source)
        : tile instanceof RemoteTile
          ? remoteText(stats, tile)
          : '';
      toggle(tile.stats, true);
    }
  }
}

function lines(rows: readonly (readonly [string, string])[]): string {
  return rows.map(([name, value]) => `${name.padEnd(8)}${value}`).join('\n');
}

function summary(stats: CallStats): string {
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
  ]);
}

function remoteText(stats: CallStats, tile: RemoteTile): string {
  const video = stats.slots.find(
    (slot) => slot.trackId !== undefined && slot.trackId === tile.stream?.id,
  );
  const audio = stats.slots.find(
    (slot) => slot.kind === 'audio' && slot.participantId === tile.participant.participantId,
  );
  const rows: [string, string][] = [];
  if (video !== undefined) {
    rows.push(
      ['video', `${video.codec ?? '–'} ${size(video)} ${fps(video)}`],
      ['rate', `${rate(video.bitrate)}, loss ${percent(video.lossRatio)}`],
      ['layer', 'single'],
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

function localText(stats: CallStats, source: 'camera' | 'screen'): string {
  const rows: [string, string][] = [];
  const picture = stats.localTracks.filter((track) => track.source === source);
  rows.push(...picture.flatMap(videoRows));
  const microphone = stats.localTracks.find((track) => track.source === 'microphone');
  if (source === 'camera' && microphone !== undefined) {
    const { codec, bitrate, mid } = microphone;
    rows.push(['audio', `${codec ?? '–'} ${rate(bitrate)}, mid ${mid}`]);
  }
  return rows.length === 0 ? 'nothing sent' : lines(rows);
}

function videoRows(track: LocalTrackStats): [string, string][] {
  const limit =
    track.limitedBy === undefined || track.limitedBy === 'none' ? '' : `, ${track.limitedBy}`;
  return [
    ['video', `${track.codec ?? '–'} ${size(track)} ${fps(track)}`],
    ['rate', `${rate(track.bitrate)}, loss ${percent(track.lossRatio)}${limit}`],
    ['layer', track.rid ?? track.scalabilityMode ?? 'single'],
    ['slot', `mid ${track.mid}`],
    ['RTT', time(track.roundTripMs)],
  ];
}

function size(of: { width: number | undefined; height: number | undefined }): string {
  return of.width === undefined ? '' : `${of.width}×${of.height ?? '?'}`;
}

function fps(of: { framesPerSecond: number | undefined }): string {
  return of.framesPerSecond === undefined ? '' : `${Math.round(of.framesPerSecond)} fps`;
}

function rate(bitsPerSecond: number | undefined): string {
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
