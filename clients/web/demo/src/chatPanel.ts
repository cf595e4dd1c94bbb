/**
 * The chat beside the tiles.
 *
 * Owns: the messages since this page joined; nobody keeps older ones.
 * Never: shows what others wrote as anything but text.
 */
import { type Call, ConvokeError, type DataMessage } from '@convoke/client';
import { h, toggle } from './dom.js';
import { icon } from './icons.js';
import { type Explanation, explain } from './words.js';

const TOPIC = 'chat';
const MOST_LINES = 500;

export interface ChatActions {
  /** Opened, closed, or something unread came. */
  onChange(): void;
  onProblem(problem: Explanation): void;
}

export class ChatPanel {
  readonly element: HTMLElement;
  readonly #call: Call;
  readonly #actions: ChatActions;
  readonly #lines = h('div', {
    class: 'chat-lines',
    role: 'log',
    'aria-live': 'polite',
    'data-testid': 'chat-lines',
  });
  readonly #input = h('input', {
    'data-testid': 'chat-input',
    'aria-label': 'Message',
    autocomplete: 'off',
    maxlength: 2_000,
    placeholder: 'Message to everyone',
  });
  #unread = 0;

  constructor(call: Call, actions: ChatActions) {
    this.#call = call;
    this.#actions = actions;
    const form = h(
      'form',
      { class: 'chat-form', onsubmit: (event: Event) => this.#submit(event) },
      this.#input,
      h(
        'button',
        { type: 'submit', class: 'round', 'aria-label': 'Send', 'data-testid': 'chat-send' },
        icon('send'),
      ),
    );
    this.element = h(
      'aside',
      { class: 'chat', 'aria-label': 'Chat', 'data-testid': 'chat-panel', hidden: true },
      this.#lines,
      form,
    );
    call.data.on('message', this.#onMessage);
  }

  get open(): boolean {
    return !this.element.hidden;
  }

  get unread(): number {
    return this.#unread;
  }

  toggle(): void {
    toggle(this.element, !this.open);
    if (this.open) {
      this.#unread = 0;
      this.#scroll();
      this.#input.focus();
    }
    this.#actions.onChange();
  }

  dispose(): void {
    this.#call.data.off('message', this.#onMessage);
  }

  readonly #onMessage = ({ from, topic, payload }: DataMessage): void => {
    if (topic !== TOPIC) return;
    const sender = this.#call.remoteParticipants.find((each) => each.participantId === from);
    this.#add(sender?.displayName || 'Guest', new TextDecoder().decode(payload), false);
    if (this.open) return;
    this.#unread += 1;
    this.#actions.onChange();
  };

  #submit(event: Event): void {
    event.preventDefault();
    const text = this.#input.value.trim();
    if (text === '') return;
    this.#input.value = '';
    const line = this.#add('You', text, true);
    line.classList.add('pending');
    this.#call.data
      .send(text, { topic: TOPIC })
      .then(() => line.classList.remove('pending'))
      .catch((cause: unknown) => {
        line.classList.add('failed');
        const error =
          cause instanceof ConvokeError ? cause : new ConvokeError('internal', String(cause));
        this.#actions.onProblem(explain(error));
      });
  }

  #add(name: string, text: string, own: boolean): HTMLElement {
    const line = h(
      'p',
      { class: own ? 'chat-line own' : 'chat-line', 'data-testid': 'chat-line' },
      h('strong', {}, name),
      h('span', {}, text),
    );
    this.#lines.append(line);
    while (this.#lines.childElementCount > MOST_LINES) this.#lines.firstElementChild?.remove();
    this.#scroll();
    return line;
  }

  #scroll(): void {
    this.#lines.scrollTop = this.#lines.scrollHeight;
  }
}
