/**
 * The stats overlay: numbers on each tile, and a summary of the call.
 *
 * Owns: the polling while it is open.
 * Never: runs while it is closed.
 */
import type { Call } from '@convoke/client';
import { h, toggle } from './dom.js';
import { localText, type Reading, remoteText, summary } from './statsText.js';
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
  #polling = false;

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
    // A slow answer is waited for, not asked for again.
    if (this.#polling) return;
    this.#polling = true;
    try {
      const [stats, explanation] = await Promise.all([
        this.#call.getStats(),
        this.#call.explain().catch(() => undefined),
      ]);
      if (this.open) this.#show({ stats, explanation });
    } catch {
      // No media runs now; the next poll may find it again.
    } finally {
      this.#polling = false;
    }
  }

  #show(reading: Reading): void {
    this.element.replaceChildren(h('pre', {}, summary(reading)));
    for (const tile of this.#tiles()) {
      tile.stats.textContent = isLocal(tile)
        ? localText(reading, tile.source)
        : tile instanceof RemoteTile
          ? remoteText(reading, {
              source: tile.source,
              participantId: tile.participant.participantId,
              trackId: tile.stream?.id,
            })
          : '';
      toggle(tile.stats, true);
    }
  }
}
