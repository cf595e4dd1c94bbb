/**
 * Short messages over the call page, read out by screen readers.
 *
 * Owns: their element and how long they stay.
 * Never: asks for anything.
 */
import { h } from './dom.js';
import { icon } from './icons.js';
import type { Explanation } from './words.js';

const SHORT_MS = 3_000;
const LONG_MS = 9_000;
const MOST = 3;

export class Notices {
  readonly element = h('div', { class: 'notices', role: 'log', 'aria-live': 'polite' });

  /** Something happened. */
  say(text: string): void {
    this.#add(h('div', { class: 'notice', 'data-testid': 'notice' }, text), SHORT_MS);
  }

  /** Something failed, and this helps. */
  problem({ title, advice }: Explanation): void {
    const notice = h(
      'div',
      { class: 'notice problem', role: 'alert', 'data-testid': 'error-box' },
      icon('alert'),
      h('div', {}, h('strong', {}, title), h('p', {}, advice)),
      h(
        'button',
        {
          type: 'button',
          class: 'round quiet tiny',
          'aria-label': 'Dismiss',
          onclick: () => notice.remove(),
        },
        icon('close'),
      ),
    );
    this.#add(notice, LONG_MS);
  }

  #add(notice: HTMLElement, lifeMs: number): void {
    this.element.append(notice);
    while (this.element.childElementCount > MOST) this.element.firstElementChild?.remove();
    setTimeout(() => notice.remove(), lifeMs);
  }
}
