/**
 * The page after a call.
 *
 * Owns: why the call ended, and the ways on.
 * Never: joins by itself.
 */
import { h } from './dom.js';
import { icon } from './icons.js';
import type { Explanation } from './words.js';

export interface EndPageOptions {
  readonly reason: Explanation;
  /** Whether the person wanted it. */
  readonly wanted: boolean;
  readonly onRejoin: () => void;
  readonly onHome: () => void;
}

export function endPage({ reason, wanted, onRejoin, onHome }: EndPageOptions): HTMLElement {
  const again = h(
    'button',
    { type: 'button', class: 'primary', 'data-testid': 'rejoin-button', onclick: onRejoin },
    'Join again',
  );
  return h(
    'main',
    { class: 'end-page' },
    h(
      'section',
      { class: 'card', 'data-testid': 'end-card' },
      h(
        'div',
        { class: wanted ? 'end-mark' : 'end-mark problem', 'aria-hidden': 'true' },
        icon(wanted ? 'leave' : 'alert'),
      ),
      h(
        'div',
        { role: wanted ? 'status' : 'alert', 'data-testid': wanted ? 'end-reason' : 'error-box' },
        h('h2', {}, reason.title),
        h('p', {}, reason.advice),
      ),
      h(
        'div',
        { class: 'row centre' },
        again,
        h(
          'button',
          { type: 'button', class: 'secondary', 'data-testid': 'home-button', onclick: onHome },
          'Back to the start',
        ),
      ),
    ),
  );
}
