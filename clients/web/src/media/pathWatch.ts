/**
 * Notices that nothing comes in any more before the browser does, which takes it five seconds and more.
 *
 * Owns: when a path counts as silent.
 * Never: mends anything; its owner replaces the WebSocket and restarts ICE.
 *
 * Looking is cheap while media is played: the browser's statistics are asked only where it stopped, as it
 * does whenever everybody else is muted. Then the path lives as long as anything comes in; while we send,
 * that is the server's feedback, every 50 ms. Where we send nothing either, nothing has to come, and only
 * a WebSocket that does not answer makes silence suspect.
 */

/** When to look and what to call silence, in milliseconds. */
export interface PathWatchTimings {
  readonly lookMs: number;
  /** A look so late, or statistics that took so long, are of a machine that is too busy to tell. */
  readonly lateMs: number;
  /** Media that was played and is not for so long: the statistics are asked. */
  readonly stoppedMs: number;
  /** Nothing at all came in for so long, and something should have: the path is silent. */
  readonly silentMs: number;
  /** How often the statistics are asked while things come in, but no media. */
  readonly quietMs: number;
  /** The same where we send nothing: browsers check consent (RFC 7675) at least every 6 s, and an answer is heard. */
  readonly idleMs: number;
  /** Where nothing has to come, and none was played of late, the WebSocket has so long to answer. */
  readonly unansweredMs: number;
  /** Silence is told again after so long at the soonest, then twice as long, and so on. */
  readonly againMs: number;
}

export const DEFAULT_WATCH: PathWatchTimings = {
  lookMs: 50,
  lateMs: 100,
  stoppedMs: 100,
  silentMs: 200,
  quietMs: 250,
  idleMs: 7_500,
  unansweredMs: 1_000,
  againMs: 2_000,
};

export interface WatchedPath {
  /** All that share the path; silence is the silence of all. */
  readonly connections: readonly RTCPeerConnection[];
  readonly receivers: () => readonly RTCRtpReceiver[];
  /** It may be silent: the WebSocket is to be asked. */
  readonly onSuspicion: () => void;
  /** Whether the WebSocket answered since. */
  readonly answered: () => boolean;
  /** It is silent. */
  readonly onSilent: () => void;
}

/** So many packets are not left without feedback. */
const OWED_PACKETS = 3;
/** A path that keeps stalling, or a server that is too slow, is not met by one restart after another. */
const AGAIN_MAX_MS = 8_000;
const CALM_MS = 60_000;

/** What the statistics say of all connections. */
interface Sample {
  /** Grows with all that comes in, and changes with the pairs in use. */
  readonly received: number;
  /** Media packets. */
  readonly sent: number;
  readonly rttMs: number;
}

export class PathWatch {
  readonly #path: WatchedPath;
  readonly #timings: PathWatchTimings;
  readonly #timer: ReturnType<typeof setInterval>;
  #lookedAtMs = Date.now();
  #newest = 0;
  #playedAtMs = 0;
  #asking = false;
  #askAtMs = 0;
  /** What was so when something came in last; undefined while media is played. */
  #heard: { readonly atMs: number; readonly sample: Sample } | undefined;
  #suspected = false;
  /** When it was heard of last, we sent nothing. */
  #idle = false;
  #toldAtMs = 0;
  /** How often it was told without a calm time between. */
  #told = 0;
  #closed = false;

  constructor(path: WatchedPath, timings: PathWatchTimings) {
    this.#path = path;
    this.#timings = timings;
    this.#timer = setInterval(() => this.#look(), timings.lookMs);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = Date.now();
    // Who was not awake has heard nothing, and says nothing of the path.
    if (now - this.#lookedAtMs > this.#timings.lookMs + this.#timings.lateMs) this.#forget();
    this.#lookedAtMs = now;
    const newest = newestOf(this.#path.receivers());
    if (newest > this.#newest) {
      this.#newest = newest;
      this.#playedAtMs = now;
      this.#heard = undefined;
      this.#askAtMs = 0;
    }
    const playing = now - this.#playedAtMs < this.#timings.stoppedMs;
    if (playing || this.#asking || now < this.#askAtMs) return;
    if (this.#path.connections.every((pc) => pc.connectionState !== 'connected')) return;
    void this.#ask();
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    const askedAtMs = Date.now();
    try {
      const reports = await Promise.all(this.#path.connections.map((pc) => pc.getStats()));
      // An answer that was long on its way is old.
      if (Date.now() - askedAtMs > this.#timings.lateMs) this.#forget();
      else if (!this.#closed) this.#judge(Date.now(), sampleOf(reports));
    } catch {
      // Closed meanwhile.
    }
    this.#asking = false;
  }

  #judge(now: number, sample: Sample | undefined): void {
    const { quietMs, idleMs, unansweredMs } = this.#timings;
    if (sample === undefined) {
      this.#askAtMs = now + idleMs;
      return;
    }
    const heard = this.#heard;
    if (heard === undefined) {
      this.#hear(now, sample, 0);
      return;
    }
    const sent = sample.sent - heard.sample.sent;
    if (sample.received !== heard.sample.received) {
      this.#hear(now, sample, sent > 0 ? quietMs : idleMs);
      return;
    }
    if (!this.#suspected) {
      this.#suspected = true;
      this.#path.onSuspicion();
      // Nothing had to come until now: time begins.
      if (this.#idle) {
        this.#hear(now, sample, 0);
        this.#suspected = true;
        return;
      }
    }
    const silentMs = now - heard.atMs;
    if (silentMs < this.#patienceMs(sample)) return;
    if (sent >= OWED_PACKETS) this.#tell(now);
    // Nobody says anything, and the server lives.
    else if (this.#path.answered()) this.#hear(now, sample, idleMs);
    // Who missed nothing yet can wait for a server that is slow to answer.
    else if (silentMs >= unansweredMs || now - this.#playedAtMs < unansweredMs) this.#tell(now);
  }

  /** Silence begins anew. */
  #forget(): void {
    this.#heard = undefined;
    this.#suspected = false;
    this.#idle = false;
  }

  #hear(now: number, sample: Sample, nextMs: number): void {
    this.#heard = { atMs: now, sample };
    this.#suspected = false;
    this.#idle = nextMs === this.#timings.idleMs;
    this.#askAtMs = now + nextMs;
  }

  /** An answer of the WebSocket must have had its time. */
  #patienceMs({ rttMs }: Sample): number {
    return Math.max(this.#timings.silentMs, 1.5 * rttMs + 100);
  }

  #tell(now: number): void {
    const { againMs, quietMs } = this.#timings;
    this.#askAtMs = now + quietMs;
    const agoMs = now - this.#toldAtMs;
    if (agoMs >= CALM_MS) this.#told = 0;
    const spacedMs = Math.min(againMs * 2 ** (this.#told - 1), AGAIN_MAX_MS);
    if (this.#told > 0 && agoMs < spacedMs) return;
    this.#toldAtMs = now;
    this.#told += 1;
    // The next time, the socket of then is asked.
    this.#suspected = false;
    this.#path.onSilent();
  }
}

/** When the last packet of any of them was played, by the browser's clock. */
function newestOf(receivers: readonly RTCRtpReceiver[]): number {
  let newest = 0;
  for (const receiver of receivers) {
    if (receiver.track.muted) continue;
    for (const { timestamp } of receiver.getSynchronizationSources()) {
      if (timestamp > newest) newest = timestamp;
    }
  }
  return newest;
}

interface AnyStats {
  readonly id: string;
  readonly type: string;
  readonly selectedCandidatePairId?: string;
  /** Firefox's own. */
  readonly selected?: boolean;
  readonly bytesReceived?: number;
  readonly responsesReceived?: number;
  readonly packetsSent?: number;
  /** In seconds. */
  readonly currentRoundTripTime?: number;
}

/** Undefined where the browser does not say which pair is in use. */
function sampleOf(reports: readonly RTCStatsReport[]): Sample | undefined {
  const chosen: AnyStats[] = [];
  let sent = 0;
  for (const report of reports) {
    let id: string | undefined;
    report.forEach((stats: AnyStats) => {
      if (stats.type === 'transport') id = stats.selectedCandidatePairId ?? id;
      else if (stats.type === 'candidate-pair' && stats.selected) id = stats.id;
      else if (stats.type === 'outbound-rtp') sent += stats.packetsSent ?? 0;
    });
    const pair = id === undefined ? undefined : (report.get(id) as AnyStats | undefined);
    if (pair !== undefined) chosen.push(pair);
  }
  if (chosen.length === 0) return undefined;
  const sum = (of: (pair: AnyStats) => number) => chosen.reduce((all, pair) => all + of(pair), 0);
  return {
    received: sum((pair) => (pair.bytesReceived ?? 0) + (pair.responsesReceived ?? 0)),
    sent,
    rttMs: Math.max(...chosen.map((pair) => (pair.currentRoundTripTime ?? 0) * 1_000)),
  };
}
