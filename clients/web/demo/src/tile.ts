/**
 * One picture on the call page: a person's camera, or a shared screen.
 *
 * Owns: its element, its view of the stream, its marks (name, muted, speaking, waiting).
 * Never: decides where it stands; the call page does.
 */
import {
  type Call,
  type LocalVideoStream,
  type RemoteParticipant,
  type RemoteVideoStream,
  VideoStreamRenderer,
} from '@convoke/client';
import { h, toggle } from './dom.js';
import { icon } from './icons.js';
import type { Rect } from './layout.js';
import { hue, initials } from './words.js';

export type TileSource = 'camera' | 'screen';

export abstract class Tile {
  readonly element: HTMLElement;
  readonly stats = h('pre', { class: 'tile-stats', 'data-testid': 'tile-stats', hidden: true });
  readonly source: TileSource;
  protected readonly screen = h('div', { class: 'tile-screen' });
  readonly #avatar: HTMLElement;
  readonly #name = h('span', { class: 'tile-name', 'data-testid': 'tile-name' });
  readonly #muted = h('span', {
    class: 'tile-muted',
    role: 'img',
    'aria-label': 'Muted',
    'data-testid': 'tile-muted',
  });
  readonly #note = h('span', { class: 'tile-note', 'data-testid': 'tile-note', hidden: true });
  #renderer: VideoStreamRenderer | undefined;
  #shown: LocalVideoStream | RemoteVideoStream | undefined;

  constructor(source: TileSource, local: boolean) {
    this.source = source;
    this.#avatar = h('div', { class: 'avatar', 'aria-hidden': 'true' });
    this.#muted.append(icon('microphoneOff'));
    this.element = h(
      'article',
      {
        class: `tile ${source}`,
        'data-testid': 'tile',
        'data-source': source,
        'data-local': String(local),
      },
      this.#avatar,
      this.screen,
      this.stats,
      h('footer', { class: 'tile-footer' }, this.#muted, this.#name, this.#note),
    );
  }

  place(rect: Rect): void {
    const { style } = this.element;
    style.transform = `translate(${Math.round(rect.x)}px, ${Math.round(rect.y)}px)`;
    style.width = `${Math.floor(rect.width)}px`;
    style.height = `${Math.floor(rect.height)}px`;
    this.element.classList.toggle('small', rect.width < 200 || rect.height < 120);
    toggle(this.element, true);
  }

  hide(): void {
    toggle(this.element, false);
  }

  dispose(): void {
    this.#renderer?.dispose();
    this.element.remove();
  }

  protected describe(participantId: string, identity: string, name: string): void {
    this.element.dataset.participant = participantId;
    this.element.setAttribute('aria-label', this.source === 'screen' ? `Screen of ${name}` : name);
    this.#name.textContent = this.source === 'screen' ? `${name} · screen` : name;
    this.#avatar.textContent = initials(name);
    this.#avatar.style.setProperty('--hue', String(hue(identity)));
  }

  protected mark(marks: { muted: boolean; speaking: boolean; video: boolean; note: string }): void {
    toggle(this.#muted, marks.muted && this.source === 'camera');
    this.element.classList.toggle('speaking', marks.speaking && this.source === 'camera');
    this.element.dataset.speaking = String(marks.speaking);
    this.element.dataset.video = marks.video ? 'on' : 'off';
    this.#note.textContent = marks.note;
    toggle(this.#note, marks.note !== '');
  }

  /** Shows a stream, or the avatar. */
  protected async show(stream: LocalVideoStream | RemoteVideoStream | undefined): Promise<void> {
    if (this.#shown === stream) return;
    this.#shown = stream;
    this.#renderer?.dispose();
    this.#renderer = undefined;
    this.screen.replaceChildren();
    if (stream === undefined) return;
    const renderer = new VideoStreamRenderer(stream);
    this.#renderer = renderer;
    try {
      const scalingMode = this.source === 'screen' ? 'Fit' : 'Crop';
      const view = await renderer.createView({ scalingMode });
      if (this.#renderer === renderer) this.screen.replaceChildren(view.target);
    } catch {
      // The camera closed again, or the tile is gone: the avatar stays.
    }
  }
}

/** Why an announced picture is not there. */
function noteFor(stream: RemoteVideoStream): string {
  if (stream.isReceiving) return '';
  if (stream.slotState === 'paused') {
    return stream.layerReason === 'bandwidth' ? 'Paused: your connection is too slow' : 'Paused';
  }
  if (stream.slotState === 'codecNotSupported') return 'This browser cannot show this video';
  return stream.slotState === 'waiting' ? 'Loading…' : '';
}

export class RemoteTile extends Tile {
  readonly participant: RemoteParticipant;
  readonly stream: RemoteVideoStream | undefined;

  constructor(
    source: TileSource,
    participant: RemoteParticipant,
    stream: RemoteVideoStream | undefined,
  ) {
    super(source, false);
    this.participant = participant;
    this.stream = stream;
    for (const name of ['isMutedChanged', 'isSpeakingChanged', 'stateChanged'] as const) {
      participant.on(name, this.#refresh);
    }
    stream?.on('isAvailableChanged', this.#refresh);
    stream?.on('isReceivingChanged', this.#refresh);
    stream?.on('layerChanged', this.#refresh);
    this.#refresh();
  }

  override dispose(): void {
    for (const name of ['isMutedChanged', 'isSpeakingChanged', 'stateChanged'] as const) {
      this.participant.off(name, this.#refresh);
    }
    this.stream?.off('isAvailableChanged', this.#refresh);
    this.stream?.off('isReceivingChanged', this.#refresh);
    this.stream?.off('layerChanged', this.#refresh);
    super.dispose();
  }

  readonly #refresh = (): void => {
    const { participant, stream } = this;
    const video = stream?.isAvailable === true;
    const name = participant.displayName || 'Guest';
    this.describe(participant.participantId, participant.identifier.communicationUserId, name);
    const away = participant.state === 'Reconnecting';
    this.mark({
      muted: participant.isMuted,
      speaking: participant.isSpeaking,
      video: video && stream.isReceiving,
      note: away ? 'Reconnecting…' : video ? noteFor(stream) : '',
    });
    this.element.classList.toggle('away', away);
    void this.show(video ? stream : undefined);
  };
}

export class LocalTile extends Tile {
  readonly #call: Call;
  readonly #displayName: string;
  readonly #identity: string;

  constructor(source: TileSource, call: Call, displayName: string, identity: string) {
    super(source, true);
    this.#call = call;
    this.#displayName = displayName;
    this.#identity = identity;
    this.refresh();
  }

  refresh(): void {
    const call = this.#call;
    const type = this.source === 'camera' ? 'Video' : 'ScreenSharing';
    const stream = call.localVideoStreams.find((candidate) => candidate.mediaStreamType === type);
    this.describe(call.participantId, this.#identity, this.#displayName);
    this.mark({
      muted: call.isMuted,
      speaking: call.isSpeaking && !call.isMuted,
      video: stream !== undefined,
      note: 'You',
    });
    void this.show(stream);
  }
}

export function isLocal(tile: Tile): tile is LocalTile {
  return tile instanceof LocalTile;
}
