/**
 * The page of someone who waits until it is let into a call.
 *
 * Owns: its words and the way out.
 * Never: joins; the SDK does when someone lets us in.
 */
import type { Call } from '@convoke/client';
import { h } from './dom.js';
import { icon } from './icons.js';

export function lobbyPage(call: Call): HTMLElement {
  const leave = () => void call.hangUp();
  return h(
    'main',
    { class: 'end-page', 'data-testid': 'lobby-page' },
    h(
      'section',
      { class: 'card', role: 'status' },
      icon('people'),
      h('h1', {}, 'You are in the lobby'),
      h('p', {}, 'Someone in the call will let you in. Nobody sees or hears you yet.'),
      h(
        'button',
        { type: 'button', class: 'secondary', 'data-testid': 'leave-lobby', onclick: leave },
        'Leave',
      ),
    ),
  );
}
