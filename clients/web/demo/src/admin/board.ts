/**
 * The board: calls and events side by side, below each other on a phone.
 *
 * Owns: when is asked for what, and that one answer is shown after the other.
 * Never: asks for more of a call than is unfolded.
 */
import { h } from '../dom.js';
import { Notices } from '../notices.js';
import { type Api, Refused, type ServerEvent } from './api.js';
import { CallCard } from './callCard.js';
import { EventList } from './eventList.js';

/** How often is asked although nothing happened: layers change without an event. */
const LOOK_MS = 3_000;
/** Events come in swarms. */
const SWARM_MS = 150;

export class Board {
  readonly element: HTMLElement;
  readonly #api: Api;
  readonly #signOut: (problem?: string) => void;
  readonly #stop = new AbortController();
  readonly #notices = new Notices();
  readonly #calls = h('section', { class: 'admin-calls', 'aria-label': 'Calls' });
  readonly #none = h('p', { class: 'admin-none', 'data-testid': 'no-calls' }, 'No call runs now.');
  readonly #events = new EventList();
  readonly #cards = new Map<string, CallCard>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #looking = false;
  #again = false;

  constructor(api: Api, signOut: (problem?: string) => void) {
    this.#api = api;
    this.#signOut = signOut;
    const leave = () => signOut();
    this.element = h(
      'main',
      { class: 'admin', 'data-testid': 'admin-board' },
      h(
        'header',
        { class: 'admin-header' },
        h('h1', {}, 'Convoke: calls'),
        h('button', { type: 'button', class: 'secondary', onclick: leave }, 'Forget the key'),
      ),
      h('div', { class: 'admin-columns' }, this.#calls, this.#events.element),
      this.#notices.element,
    );
    void this.#look();
    void this.#follow();
  }

  dispose(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  async #follow(): Promise<void> {
    const tell = (event: ServerEvent) => {
      this.#events.add(event);
      this.#soon(SWARM_MS);
    };
    try {
      await this.#api.follow(tell, (live) => this.#events.live(live), this.#stop.signal);
    } catch (error) {
      this.#failed(error);
    }
  }

  #soon(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#stop.signal.aborted) this.#timer = setTimeout(() => void this.#look(), ms);
  }

  async #look(): Promise<void> {
    if (this.#looking) {
      this.#again = true;
      return;
    }
    this.#looking = true;
    try {
      await this.#show();
    } catch (error) {
      this.#failed(error);
    }
    this.#looking = false;
    this.#soon(this.#again ? SWARM_MS : LOOK_MS);
    this.#again = false;
  }

  async #show(): Promise<void> {
    const calls = await this.#api.calls();
    if (this.#stop.signal.aborted) return;
    const known = new Set(calls.map(({ id }) => id));
    for (const [id, card] of this.#cards) {
      if (known.has(id)) continue;
      card.element.remove();
      this.#cards.delete(id);
    }
    for (const call of calls) {
      let card = this.#cards.get(call.id);
      if (card === undefined) {
        card = new CallCard(call.id, this.#api, (act) => this.#try(act));
        this.#cards.set(call.id, card);
        this.#calls.append(card.element);
        // A single call is what one wants to see.
        card.element.open = calls.length === 1;
      }
      card.show(call);
    }
    this.#calls.prepend(...(calls.length === 0 ? [this.#none] : []));
    if (calls.length > 0) this.#none.remove();
    await Promise.all([...this.#cards.values()].map((card) => card.update()));
  }

  async #try(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#failed(error);
    }
    this.#soon(0);
  }

  #failed(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof Refused && error.status === 401) this.#signOut(message);
    // What has just gone is shown as gone by the next look.
    else if (!(error instanceof Refused && error.status === 404)) {
      this.#notices.problem({ title: 'That did not work', advice: message });
    }
  }
}
