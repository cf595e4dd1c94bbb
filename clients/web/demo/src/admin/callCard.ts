/**
 * One call: who is in it, and what is done about it.
 *
 * Owns: its element. What is asked twice (ending, removing) is asked by a second press.
 * Never: asks while it is folded.
 */
import { h } from '../dom.js';
import type { Api, LiveCall, LiveParticipant } from './api.js';
import { reception } from './reception.js';

type Try = (act: () => Promise<void>) => Promise<void>;

const STATES: Record<LiveParticipant['state'], string> = {
  inLobby: 'in the lobby',
  joining: 'coming in',
  connected: 'in the call',
  unreachable: 'unreachable',
  leaving: 'leaving',
};

/** How long a first press waits for the second. */
const SURE_MS = 4_000;

export class CallCard {
  readonly element: HTMLDetailsElement;
  readonly #id: string;
  readonly #api: Api;
  readonly #try: Try;
  readonly #title = h('span', { class: 'admin-locator' });
  readonly #count = h('span', { class: 'admin-soft' });
  readonly #list = h('div', { class: 'admin-people' });
  readonly #rows = new Map<string, PersonRow>();

  constructor(id: string, api: Api, run: Try) {
    this.#id = id;
    this.#api = api;
    this.#try = run;
    this.element = h(
      'details',
      { class: 'card admin-call', 'data-testid': 'admin-call', 'data-call': id },
      h('summary', {}, this.#title, this.#count),
      this.#list,
      h(
        'div',
        { class: 'admin-buttons' },
        press('mute-all', 'Mute all', () => run(() => api.mute(id))),
        sure('end-call', 'End the call', () => run(() => api.end(id))),
      ),
    );
    this.element.addEventListener('toggle', () => void run(() => this.update()));
  }

  show({ locator, participants, waiting }: LiveCall): void {
    this.#title.textContent = locator;
    const lobby = waiting > 0 ? `, ${waiting} in the lobby` : '';
    this.#count.textContent = `${participants} in the call${lobby}`;
  }

  /** Asks who is there, and for those unfolded what they get. */
  async update(): Promise<void> {
    if (!this.element.open) return;
    const people = await this.#api.participants(this.#id);
    const known = new Set(people.map(({ participantId }) => participantId));
    for (const [id, row] of this.#rows) {
      if (known.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    const names = new Map(people.map((one) => [one.participantId, nameOf(one)]));
    for (const person of people) {
      let row = this.#rows.get(person.participantId);
      if (row === undefined) {
        row = new PersonRow(this.#id, person, this.#api, this.#try);
        this.#rows.set(person.participantId, row);
        this.#list.append(row.element);
      }
      row.show(person);
    }
    await Promise.all([...this.#rows.values()].map((row) => row.update(names)));
  }
}

class PersonRow {
  readonly element: HTMLElement;
  readonly #call: string;
  readonly #api: Api;
  readonly #id: string;
  readonly #name = h('strong', { class: 'admin-name' });
  readonly #state = h('span', { class: 'admin-soft', 'data-testid': 'admin-state' });
  readonly #mute: HTMLButtonElement;
  readonly #layers: HTMLButtonElement;
  readonly #reception = h('div', {
    class: 'admin-reception',
    'data-testid': 'admin-layers',
    hidden: true,
  });
  #names: ReadonlyMap<string, string> = new Map();

  constructor(call: string, { participantId, identity }: LiveParticipant, api: Api, run: Try) {
    this.#call = call;
    this.#api = api;
    this.#id = participantId;
    this.#mute = press('mute-person', 'Mute', () => run(() => api.mute(call, identity)));
    this.#layers = press('show-layers', 'Layers', () => run(() => this.#unfold()));
    this.#layers.setAttribute('aria-expanded', 'false');
    this.element = h(
      'div',
      { class: 'admin-person', 'data-testid': 'admin-person' },
      h('div', { class: 'admin-who' }, this.#name, this.#state),
      h(
        'div',
        { class: 'admin-buttons' },
        this.#layers,
        this.#mute,
        sure('remove-person', 'Remove', () => run(() => api.remove(call, identity))),
      ),
      this.#reception,
    );
  }

  show(person: LiveParticipant): void {
    const inLobby = person.state === 'inLobby';
    this.#name.textContent = nameOf(person);
    const sends = person.tracks.map(({ source, muted }) => (muted ? `${source} (muted)` : source));
    const since = new Date(person.joinedAt).toLocaleTimeString();
    this.#state.textContent = [
      person.displayName === '' ? '' : person.identity,
      person.role ?? '',
      `${STATES[person.state]} since ${since}`,
      inLobby ? '' : sends.join(', ') || 'sends nothing',
    ]
      .filter((part) => part !== '')
      .join(' · ');
    this.#mute.disabled = person.muted;
    this.#mute.textContent = person.muted ? 'Muted' : 'Mute';
    this.#layers.hidden = inLobby;
  }

  async update(names: ReadonlyMap<string, string>): Promise<void> {
    this.#names = names;
    if (this.#reception.hidden) return;
    const person = await this.#api.participant(this.#call, this.#id);
    this.#reception.replaceChildren(...reception(person, names));
  }

  async #unfold(): Promise<void> {
    this.#reception.hidden = !this.#reception.hidden;
    this.#layers.setAttribute('aria-expanded', String(!this.#reception.hidden));
    await this.update(this.#names);
  }
}

function nameOf({ displayName, identity }: LiveParticipant): string {
  return displayName || identity;
}

function press(testId: string, text: string, onclick: () => void): HTMLButtonElement {
  return h('button', { type: 'button', class: 'secondary', 'data-testid': testId, onclick }, text);
}

/** A button whose first press asks for a second. */
function sure(testId: string, text: string, act: () => void): HTMLButtonElement {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const rest = () => {
    clearTimeout(timer);
    timer = undefined;
    button.textContent = text;
  };
  const button = press(testId, text, () => {
    if (timer !== undefined) {
      rest();
      act();
      return;
    }
    button.textContent = 'Press again';
    timer = setTimeout(rest, SURE_MS);
  });
  button.classList.add('danger');
  return button;
}
