/**
 * Asks for the key.
 *
 * Owns: the form.
 * Never: keeps what is typed.
 */
import { h } from '../dom.js';
import { icon } from '../icons.js';

export class KeyPage {
  readonly element: HTMLElement;
  readonly #input = h('input', {
    type: 'password',
    name: 'key',
    autocomplete: 'off',
    spellcheck: 'false',
    required: true,
    'data-testid': 'admin-key',
  });

  constructor(onKey: (key: string) => void, problem?: string) {
    const form = h(
      'form',
      { class: 'card' },
      h('h1', {}, 'Convoke: calls'),
      problem !== undefined &&
        h(
          'div',
          { class: 'error', role: 'alert', 'data-testid': 'error-box' },
          icon('alert'),
          h('p', {}, problem),
        ),
      h(
        'label',
        { class: 'field' },
        h('span', { class: 'field-label' }, 'Service key with the role admin'),
        this.#input,
        h('small', {}, 'It stays in this tab, and is forgotten when the tab is closed.'),
      ),
      h('button', { type: 'submit', class: 'primary wide', 'data-testid': 'admin-open' }, 'Open'),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const key = this.#input.value.trim();
      // What cannot stand in a header is no key.
      if (/^[\x21-\x7e]+$/.test(key)) onKey(key);
      else this.#input.setCustomValidity('A key has letters, digits and signs only.');
      this.#input.reportValidity();
    });
    this.#input.addEventListener('input', () => this.#input.setCustomValidity(''));
    this.element = h('main', { class: 'admin-key' }, form);
  }

  focus(): void {
    this.#input.focus();
  }
}
