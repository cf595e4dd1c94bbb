/**
 * Plays the audio slots; nothing to do for the app.
 *
 * Owns: one hidden audio element for each slot that has ever carried sound.
 * Never: mixes or decides who is heard; the server assigns the slots.
 */
import type { Slot } from '../generated/protocol.js';

export class AudioPlayback {
  readonly #onBlocked: (blocked: boolean) => void;
  readonly #elements = new Map<string, HTMLAudioElement>();
  #speakerId = '';
  #blocked = false;

  constructor(onBlocked: (blocked: boolean) => void) {
    this.#onBlocked = onBlocked;
  }

  /** Whether the browser refuses to play until the person does something. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Gives every used slot its element, and each element the track of the present transport. */
  update(slots: readonly Slot[], receiver: (mid: string) => RTCRtpReceiver | undefined): void {
    if (typeof document === 'undefined') return;
    for (const slot of slots) {
      const track = receiver(slot.mid)?.track;
      if (track === undefined) continue;
      let element = this.#elements.get(slot.mid);
      if (element === undefined) {
        if (slot.trackId === undefined) continue;
        element = this.#create(slot.mid);
      }
      if (playing(element) === track) continue;
      element.srcObject = new MediaStream([track]);
      this.#play(element);
    }
  }

  setSpeaker(deviceId: string): void {
    this.#speakerId = deviceId;
    for (const element of this.#elements.values()) this.#route(element);
  }

  /** Call from a click or key press after `audioPlaybackBlocked`. */
  async resume(): Promise<void> {
    await Promise.all([...this.#elements.values()].map((element) => element.play()));
    this.#setBlocked(false);
  }

  close(): void {
    for (const element of this.#elements.values()) {
      element.srcObject = null;
      element.remove();
    }
    this.#elements.clear();
  }

  #create(mid: string): HTMLAudioElement {
    const element = document.createElement('audio');
    element.autoplay = true;
    element.hidden = true;
    element.dataset.convokeSlot = mid;
    this.#elements.set(mid, element);
    this.#route(element);
    document.body.append(element);
    return element;
  }

  #route(element: HTMLAudioElement): void {
    if (!('setSinkId' in element)) return;
    // A speaker that was unplugged: the browser goes on with the default one.
    element.setSinkId(this.#speakerId).catch(() => undefined);
  }

  #play(element: HTMLAudioElement): void {
    element.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.#setBlocked(true);
    });
  }

  #setBlocked(blocked: boolean): void {
    if (this.#blocked === blocked) return;
    this.#blocked = blocked;
    this.#onBlocked(blocked);
  }
}

function playing(element: HTMLAudioElement): MediaStreamTrack | undefined {
  return element.srcObject instanceof MediaStream
    ? element.srcObject.getAudioTracks()[0]
    : undefined;
}
