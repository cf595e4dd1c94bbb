/**
 * Events as they come, the newest on top.
 *
 * Owns: the list, and how many lines of it there are.
 * Never: shows more than text.
 */
import { h } from '../dom.js';
import type { ServerEvent } from './api.js';

/** Lines that are kept. */
const MOST = 200;

export class EventList {
  readonly element: HTMLElement;
  readonly #state = h('span', { class: 'admin-soft', 'data-testid': 'events-state' }, 'connecting');
  readonly #lines = h('ol', { class: 'admin-events', 'data-testid': 'admin-events' });

  constructor() {
    this.element = h(
      'section',
      { class: 'card', 'aria-label': 'Events' },
      h('h2', {}, 'Events ', this.#state),
      this.#lines,
    );
  }

  /** Whether the stream is open. */
  live(connected: boolean): void {
    this.#state.textContent = connected ? 'live' : 'connecting again';
  }

  add(event: ServerEvent): void {
    const { identity, participant, code, subCode } = event.data;
    const what = event.type.replace(/^convoke\./, '');
    const why = code === undefined ? '' : ` (${String(code)}/${String(subCode)})`;
    const who = identity ?? participant;
    this.#lines.prepend(
      h(
        'li',
        { 'data-testid': 'admin-event' },
        h('time', {}, new Date(event.time).toLocaleTimeString()),
        ` ${what}${who === undefined ? '' : ` ${String(who)}`}${why} `,
        h('span', { class: 'admin-soft' }, event.subject),
      ),
    );
    while (this.#lines.childElementCount > MOST) this.#lines.lastElementChild?.remove();
  }
}
