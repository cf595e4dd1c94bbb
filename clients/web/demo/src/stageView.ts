/**
 * The tiles of a call and where they stand.
 *
 * Owns: which tiles there are, and which are on the page. The SDK asks the server for what is seen.
 * Never: moves a tile's element in the document; that would restart its video.
 */
import type { Call, RemoteParticipant, RemoteVideoStream } from '@convoke/client';
import { h, toggle } from './dom.js';
import { capacity, choose, grid, type Rect, stage } from './layout.js';
import { isLocal, LocalTile, RemoteTile, type Tile, type TileSource } from './tile.js';

export class StageView {
  readonly element = h('div', { class: 'tiles', 'data-testid': 'tiles' });
  readonly #call: Call;
  readonly #self: { readonly name: string; readonly identity: string };
  readonly #tiles = new Map<string, Tile>();
  readonly #more = h('div', { class: 'more', 'data-testid': 'more-participants', hidden: true });
  readonly #observer = new ResizeObserver(() => this.layout());
  readonly #lastSpoke = new Map<string, number>();
  #shown: string[] = [];

  constructor(call: Call, self: { readonly name: string; readonly identity: string }) {
    this.#call = call;
    this.#self = self;
    this.element.append(this.#more);
    this.#observer.observe(this.element);
    call.on('remoteParticipantsUpdated', ({ added, removed }) => {
      for (const participant of added) this.#follow(participant);
      for (const participant of removed) this.#lastSpoke.delete(participant.participantId);
      this.update();
    });
    for (const participant of call.remoteParticipants) this.#follow(participant);
    call.on('localVideoStreamsUpdated', () => this.update());
    for (const name of ['isMutedChanged', 'isSpeakingChanged', 'connectionStateChanged'] as const) {
      call.on(name, () => this.#refreshLocal());
    }
    this.update();
  }

  get tiles(): Iterable<Tile> {
    return this.#tiles.values();
  }

  dispose(): void {
    this.#observer.disconnect();
    for (const tile of this.#tiles.values()) tile.dispose();
    this.#tiles.clear();
  }

  /** Makes and removes tiles, then places them. */
  update(): void {
    if (this.#call.state === 'Disconnected') return;
    const wanted = new Set<string>();
    for (const participant of this.#call.remoteParticipants) {
      const stream = (type: string) =>
        participant.videoStreams.find((candidate) => candidate.mediaStreamType === type);
      this.#want(wanted, participant, 'camera', stream('Video'));
      const screen = stream('ScreenSharing');
      if (screen?.isAvailable === true) this.#want(wanted, participant, 'screen', screen);
    }
    this.#wantLocal(wanted, 'camera');
    if (this.#call.isScreenSharingOn) this.#wantLocal(wanted, 'screen');
    for (const [key, tile] of this.#tiles) {
      if (wanted.has(key)) continue;
      tile.dispose();
      this.#tiles.delete(key);
    }
    this.#refreshLocal();
    this.layout();
  }

  layout(): void {
    const area = { width: this.element.clientWidth, height: this.element.clientHeight };
    if (area.width === 0 || area.height === 0) return;
    const staged = this.#stagedKey();
    const keys = [...this.#tiles.keys()].filter((key) => key !== staged);
    const room = staged === undefined ? capacity(area) : Math.min(9, capacity(area));
    const spoke = new Map(keys.map((key) => [key, this.#lastSpokeOf(key)]));
    const fits = keys.length <= room;
    this.#shown = choose(keys, this.#shown, spoke, fits ? room : room - 1);
    const count = this.#shown.length + (fits ? 0 : 1);
    const rects = staged === undefined ? grid(count, area) : this.#stage(staged, count, area);
    for (const [key, tile] of this.#tiles) {
      if (key !== staged && !this.#shown.includes(key)) tile.hide();
    }
    for (const [index, key] of this.#shown.entries()) {
      const rect = rects[index];
      if (rect !== undefined) this.#tiles.get(key)?.place(rect);
    }
    this.#showMore(keys.length - this.#shown.length, rects[this.#shown.length]);
  }

  #stage(staged: string, count: number, area: { width: number; height: number }): Rect[] {
    const placed = stage(count, area);
    this.#tiles.get(staged)?.place(placed.stage);
    return placed.others;
  }

  /** The newest screen that someone else shares. */
  #stagedKey(): string | undefined {
    let staged: string | undefined;
    for (const [key, tile] of this.#tiles) {
      if (tile.source === 'screen' && !isLocal(tile)) staged = key;
    }
    return staged;
  }

  #showMore(count: number, rect: Rect | undefined): void {
    toggle(this.#more, count > 0 && rect !== undefined);
    if (rect === undefined) return;
    this.#more.textContent = `+${count}`;
    this.#more.title = `${count} more in the call`;
    this.#more.style.transform = `translate(${Math.round(rect.x)}px, ${Math.round(rect.y)}px)`;
    this.#more.style.width = `${Math.floor(rect.width)}px`;
    this.#more.style.height = `${Math.floor(rect.height)}px`;
  }

  #want(
    wanted: Set<string>,
    participant: RemoteParticipant,
    source: TileSource,
    stream: RemoteVideoStream | undefined,
  ): void {
    const key = `${participant.participantId}/${source}`;
    wanted.add(key);
    const old = this.#tiles.get(key);
    if (old instanceof RemoteTile && old.stream === stream) return;
    old?.dispose();
    const tile = new RemoteTile(source, participant, stream);
    this.#add(key, tile);
  }

  #wantLocal(wanted: Set<string>, source: TileSource): void {
    const key = `local/${source}`;
    wanted.add(key);
    if (this.#tiles.has(key)) return;
    this.#add(key, new LocalTile(source, this.#call, this.#self.name, this.#self.identity));
  }

  #add(key: string, tile: Tile): void {
    this.#tiles.set(key, tile);
    this.element.append(tile.element);
  }

  #refreshLocal(): void {
    for (const tile of this.#tiles.values()) if (isLocal(tile)) tile.refresh();
  }

  #follow(participant: RemoteParticipant): void {
    // A stream outlives its tiles: a screen that is shared again has no tile to tell of it.
    const watch = (stream: RemoteVideoStream) => {
      stream.on('isAvailableChanged', () => this.update());
    };
    participant.videoStreams.forEach(watch);
    participant.on('videoStreamsUpdated', ({ added }) => {
      added.forEach(watch);
      this.update();
    });
    participant.on('isSpeakingChanged', () => {
      if (!participant.isSpeaking) return;
      this.#lastSpoke.set(participant.participantId, performance.now());
      if (!this.#shown.includes(`${participant.participantId}/camera`)) this.layout();
    });
  }

  /** We always see ourselves. */
  #lastSpokeOf(key: string): number {
    if (key.startsWith('local/')) return Number.POSITIVE_INFINITY;
    return this.#lastSpoke.get(key.split('/')[0] ?? '') ?? 0;
  }
}
