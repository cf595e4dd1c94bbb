/**
 * Being reachable: an agent that waits for calls on the start page.
 *
 * Owns: the banner of a call that rings, and the card to call somebody.
 * Never: joins; `main` does, with the call that this gives.
 */
import type { CallAgent, IncomingCall } from '@convoke/client';
import { h, toggle } from './dom.js';
import { icon } from './icons.js';

export interface IncomingOptions {
  readonly agent: CallAgent;
  readonly onAccept: (call: IncomingCall) => void;
  readonly onCall: (identity: string) => void;
}

export class Incoming {
  readonly element: HTMLElement;
  readonly #options: IncomingOptions;
  readonly #banner = h('div', {
    class: 'incoming',
    role: 'alertdialog',
    'aria-label': 'Incoming call',
    'data-testid': 'incoming-call',
    hidden: true,
  });
  readonly #said = h('p', {
    class: 'hint',
    role: 'status',
    'data-testid': 'ring-ended',
    hidden: true,
  });
  #call: IncomingCall | undefined;

  constructor(options: IncomingOptions) {
    this.#options = options;
    const whom = h('input', {
      'data-testid': 'callee-input',
      autocomplete: 'off',
      placeholder: 'Whom to call',
      'aria-label': 'Whom to call',
    });
    const form = h(
      'form',
      { class: 'reachable' },
      h('p', {}, 'You can be called as ', h('strong', {}, options.agent.identity), '.'),
      whom,
      h('button', { type: 'submit', 'data-testid': 'ring-button' }, 'Call'),
      this.#said,
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const identity = whom.value.trim();
      if (identity !== '') options.onCall(identity);
    });
    this.element = h('aside', { class: 'card reachable-card' }, form, this.#banner);
    options.agent.on('incomingCall', this.#onIncoming);
  }

  dispose(): void {
    this.#options.agent.off('incomingCall', this.#onIncoming);
    this.element.remove();
  }

  readonly #onIncoming = ({ incomingCall }: { incomingCall: IncomingCall }): void => {
    // Another one rings already: this device is busy.
    if (this.#call?.isRinging) {
      void incomingCall.reject({ busy: true }).catch(() => undefined);
      return;
    }
    this.#call = incomingCall;
    const { displayName, identifier } = incomingCall.callerInfo;
    incomingCall.on('callEnded', ({ callEndReason }) => {
      toggle(this.#banner, false);
      this.#said.textContent = callEndReason.message;
      toggle(this.#said, true);
    });
    const accept = () => {
      toggle(this.#banner, false);
      this.#options.onAccept(incomingCall);
    };
    const reject = () => {
      toggle(this.#banner, false);
      void incomingCall.reject().catch(() => undefined);
    };
    this.#banner.replaceChildren(
      icon('people'),
      h('strong', {}, displayName || identifier.communicationUserId, ' is calling'),
      h(
        'button',
        { type: 'button', class: 'primary answer', 'data-testid': 'accept-call', onclick: accept },
        'Accept',
      ),
      h(
        'button',
        {
          type: 'button',
          class: 'secondary answer',
          'data-testid': 'decline-call',
          onclick: reject,
        },
        'Decline',
      ),
    );
    toggle(this.#said, false);
    toggle(this.#banner, true);
  };
}
