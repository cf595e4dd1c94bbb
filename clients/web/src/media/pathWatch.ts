/**
 * Notices that nothing comes in any more before the browser does, which takes it five seconds and more.
 *
 * Owns: when a path counts as silent.
 * Never: mends anything; its owner tests the WebSocket and restarts ICE.
 *
 * Looking is cheap while media comes in: only when it stopped are the browser's statistics asked whether
 * anything at all came since, as a participant who stops talking is silent, too.
 */

/** When to look and what to call silence, in milliseconds. */
export interface PathWatchTimings {
  readonly lookMs: number;
  /** Media that came in and did not for so long raises suspicion. */
  readonly silentMs: number;
  /** Nothing else came in for so long again: the path is silent. Feedback for what we send comes oftener. */
  readonly confirmMs: number;
}

export const DEFAULT_WATCH: PathWatchTimings = { lookMs: 100, silentMs: 450, confirmMs: 150 };

export interface WatchedPath {
  /** All that share the path; silence is the silence of all. */
  readonly connections: readonly RTCPeerConnection[];
  readonly receivers: () => readonly RTCRtpReceiver[];
  /** It may be silent; `onSilent` follows, or nothing. */
  readonly onSuspicion: () => void;
  /** It is: once, until media came in again. */
  readonly onSilent: () => void;
}

export class PathWatch {
  readonly #path: WatchedPath;
  readonly #timings: PathWatchTimings;
  readonly #timer: ReturnType<typeof setInterval>;
  #newest = 0;
  #heardAtMs = 0;
  #armed = false;
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
    const newest = newestOf(this.#path.receivers());
    if (newest > this.#newest) {
      this.#newest = newest;
      this.#heardAtMs = Date.now();
      this.#armed = true;
    } else if (this.#armed && Date.now() - this.#heardAtMs >= this.#timings.silentMs) {
      this.#armed = false;
      void this.#confirm();
    }
  }

  async #confirm(): Promise<void> {
    this.#path.onSuspicion();
    const before = await this.#received();
    await new Promise((resolve) => setTimeout(resolve, this.#timings.confirmMs));
    const after = await this.#received();
    if (!this.#closed && before === after) this.#path.onSilent();
  }

  /** A number that grows with all that comes in. */
  async #received(): Promise<number> {
    const reports = await Promise.all(this.#path.connections.map((pc) => pc.getStats()));
    return reports.reduce((sum, report) => sum + receivedBy(report), 0);
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

interface PairStats {
  readonly id: string;
  readonly type: string;
  readonly selectedCandidatePairId?: string;
  /** Firefox's own. */
  readonly selected?: boolean;
  readonly bytesReceived?: number;
  readonly responsesReceived?: number;
}

/** Bytes and answered checks of the pair that is in use. */
function receivedBy(report: RTCStatsReport): number {
  let chosen: string | undefined;
  report.forEach((stats: PairStats) => {
    if (stats.type === 'transport') chosen = stats.selectedCandidatePairId ?? chosen;
    else if (stats.type === 'candidate-pair' && stats.selected) chosen = stats.id;
  });
  const pair = chosen === undefined ? undefined : (report.get(chosen) as PairStats | undefined);
  return (pair?.bytesReceived ?? 0) + (pair?.responsesReceived ?? 0);
}
