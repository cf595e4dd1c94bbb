/**
 * The bar of buttons under a call.
 *
 * Owns: the buttons, their labels and states, and the keys that press them.
 * Never: knows how a call works; each button calls back.
 */
import { h } from './dom.js';
import { type IconName, icon } from './icons.js';

export interface ControlActions {
  microphone(): Promise<void>;
  camera(): Promise<void>;
  screen(): Promise<void>;
  copyLink(): Promise<void>;
  chat(): void;
  people(): void;
  hand(): Promise<void>;
  stats(): void;
  settings(): void;
  leave(): Promise<void>;
}

export interface ControlState {
  readonly microphone: boolean;
  readonly camera: boolean;
  readonly screen: boolean;
  readonly stats: boolean;
  readonly chat: boolean;
  readonly hand: boolean;
  /** How many wait in the lobby. */
  readonly waiting: number;
  /** Messages that came while the chat was closed. */
  readonly unread: number;
}

interface Button {
  readonly element: HTMLButtonElement;
  set(label: string, glyph: IconName, state: 'on' | 'off' | 'plain'): void;
}

export class Controls {
  readonly element: HTMLElement;
  readonly #microphone: Button;
  readonly #camera: Button;
  readonly #screen: Button;
  readonly #stats: Button;
  readonly #chat: Button;
  readonly #people: Button;
  readonly #hand: Button;

  constructor(actions: ControlActions, canShareScreen: boolean) {
    this.#microphone = button('mute-button', 'm', () => actions.microphone());
    this.#camera = button('camera-button', 'v', () => actions.camera());
    this.#screen = button('screen-button', 's', () => actions.screen());
    this.#chat = button('chat-button', 'c', () => actions.chat());
    this.#stats = button('stats-button', 'i', () => actions.stats());
    this.#people = button('people-button', 'p', () => actions.people());
    this.#hand = button('hand-button', 'h', () => actions.hand());
    const link = button('copy-link-button', undefined, () => actions.copyLink());
    link.set('Copy link to this call', 'link', 'plain');
    const settings = button('settings-button', undefined, () => actions.settings());
    settings.set('Devices', 'settings', 'plain');
    const leave = button('leave-button', undefined, () => actions.leave());
    leave.set('Leave the call', 'leave', 'plain');
    leave.element.classList.add('leave');
    this.#screen.element.hidden = !canShareScreen;
    this.element = h(
      'div',
      { class: 'controls', role: 'toolbar', 'aria-label': 'Call controls' },
      this.#microphone.element,
      this.#camera.element,
      this.#screen.element,
      h('span', { class: 'divider', 'aria-hidden': 'true' }),
      link.element,
      this.#people.element,
      this.#hand.element,
      this.#chat.element,
      this.#stats.element,
      settings.element,
      h('span', { class: 'divider', 'aria-hidden': 'true' }),
      leave.element,
    );
    document.addEventListener('keydown', this.#onKey);
  }

  show(state: ControlState): void {
    this.#microphone.set(
      state.microphone ? 'Mute' : 'Unmute',
      state.microphone ? 'microphone' : 'microphoneOff',
      state.microphone ? 'plain' : 'off',
    );
    this.#camera.set(
      state.camera ? 'Turn camera off' : 'Turn camera on',
      state.camera ? 'camera' : 'cameraOff',
      state.camera ? 'plain' : 'off',
    );
    this.#screen.set(
      state.screen ? 'Stop sharing' : 'Share screen',
      state.screen ? 'screenStop' : 'screen',
      state.screen ? 'on' : 'plain',
    );
    const { unread, waiting } = state;
    const people = waiting > 0 ? `People, ${waiting} waiting` : 'People';
    this.#people.set(people, 'people', waiting > 0 ? 'on' : 'plain');
    this.#people.element.dataset.unread = waiting > 0 ? String(Math.min(waiting, 99)) : '';
    this.#hand.set(state.hand ? 'Lower hand' : 'Raise hand', 'hand', state.hand ? 'on' : 'plain');
    const label = state.chat ? 'Hide chat' : 'Show chat';
    this.#chat.set(
      unread > 0 ? `${label}, ${unread} unread` : label,
      'chat',
      state.chat ? 'on' : 'plain',
    );
    this.#chat.element.dataset.unread = unread > 0 ? String(Math.min(unread, 99)) : '';
    this.#stats.set(
      state.stats ? 'Hide statistics' : 'Show statistics',
      'stats',
      state.stats ? 'on' : 'plain',
    );
  }

  dispose(): void {
    document.removeEventListener('keydown', this.#onKey);
  }

  readonly #onKey = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target instanceof Element && event.target.closest('input, select, dialog')) return;
    const key = event.key.toLowerCase();
    const pressed = this.element.querySelector<HTMLButtonElement>(
      `[aria-keyshortcuts="${CSS.escape(key)}"]`,
    );
    pressed?.click();
  };
}

function button(
  testId: string,
  key: string | undefined,
  onClick: () => Promise<void> | void,
): Button {
  const element = h('button', {
    type: 'button',
    class: 'round',
    'data-testid': testId,
    'aria-keyshortcuts': key,
  });
  // One press after the other: each acts on what the one before has made.
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  element.addEventListener('click', () => {
    waiting += 1;
    element.setAttribute('aria-busy', 'true');
    last = last
      .then(onClick)
      .catch(() => undefined)
      .finally(() => {
        waiting -= 1;
        if (waiting === 0) element.removeAttribute('aria-busy');
      });
  });
  return {
    element,
    set(label, glyph, state) {
      element.replaceChildren(icon(glyph));
      element.setAttribute('aria-label', label);
      element.title = key === undefined ? label : `${label} (${key.toUpperCase()})`;
      element.classList.toggle('off', state === 'off');
      element.classList.toggle('on', state === 'on');
      element.dataset.state = state;
    },
  };
}
