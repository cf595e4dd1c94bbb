/**
 * Who is in the call and who waits, and what may be done about them.
 *
 * Owns: the dialogue, its lists and buttons. What we may not do has no button.
 * Never: decides who may; the call's capabilities say.
 */
import type { Call, Capabilities, RemoteParticipant, Role } from '@convoke/client';
import { h } from './dom.js';

export interface PeopleActions {
  /** Runs something that the server may refuse. */
  try(action: () => Promise<void>): Promise<void>;
}

const ROLES: readonly Role[] = ['Presenter', 'Collaborator', 'Attendee', 'Consumer'];

export class PeoplePanel {
  readonly element: HTMLDialogElement;
  readonly #call: Call;
  readonly #actions: PeopleActions;
  readonly #lobby = h('section', { class: 'people-list', 'data-testid': 'lobby-list' });
  readonly #people = h('section', { class: 'people-list', 'data-testid': 'people-list' });
  readonly #everyone = h('div', { class: 'people-buttons' });

  constructor(call: Call, actions: PeopleActions) {
    this.#call = call;
    this.#actions = actions;
    const dialog = h(
      'dialog',
      { class: 'card people', 'aria-label': 'People', 'data-testid': 'people-dialog' },
      h('h2', {}, 'People'),
      this.#lobby,
      this.#people,
      this.#everyone,
      h('button', { type: 'button', class: 'primary wide', onclick: () => dialog.close() }, 'Done'),
    );
    this.element = dialog;
    this.show();
  }

  open(): void {
    this.show();
    this.element.showModal();
  }

  /** Brings the lists up to date. */
  show(): void {
    const call = this.#call;
    const able = call.capabilities;
    const waiting = able?.manageLobby.isPresent ? call.lobby.participants : [];
    this.#lobby.replaceChildren(
      ...(waiting.length === 0 ? [] : [h('h3', {}, `In the lobby (${waiting.length})`)]),
      ...waiting.map(({ participantId, displayName }) =>
        this.#row(displayName || 'Guest', [
          this.#button('admit', 'Let in', () => call.lobby.admit(participantId)),
          this.#button('reject', 'Turn away', () => call.lobby.reject(participantId)),
        ]),
      ),
      ...(waiting.length > 1
        ? [this.#button('admit-all', 'Let everyone in', () => call.lobby.admitAll())]
        : []),
    );
    const hands = call.raisedHands.participantIds;
    const rank = (id: string) => (hands.includes(id) ? hands.indexOf(id) : hands.length);
    const others = [...call.remoteParticipants].sort(
      (a, b) => rank(a.participantId) - rank(b.participantId),
    );
    this.#people.replaceChildren(
      h('h3', {}, `In the call (${others.length + 1})`),
      this.#row(this.#marked('You', call.participantId), []),
      ...others.map((participant) => this.#person(participant, able)),
    );
    this.#everyone.replaceChildren(
      ...(able?.muteOthers.isPresent && others.length > 0
        ? [this.#button('mute-all', 'Mute all others', () => call.muteAllRemoteParticipants())]
        : []),
      ...(able?.hangUpForEveryOne.isPresent
        ? [
            this.#button('end-for-all', 'End for everyone', () =>
              call.hangUp({ forEveryone: true }),
            ),
          ]
        : []),
    );
  }

  #person(participant: RemoteParticipant, able: Capabilities | undefined): HTMLElement {
    const call = this.#call;
    const { participantId } = participant;
    const lit = call.spotlight.participantIds.includes(participantId);
    const buttons: HTMLElement[] = [];
    const add = (may: boolean | undefined, id: string, text: string, act: () => Promise<void>) => {
      if (may) buttons.push(this.#button(id, text, act));
    };
    const mute = able?.muteOthers.isPresent && !participant.isMuted;
    add(mute, 'mute-other', 'Mute', () => call.muteParticipants(participant));
    add(able?.spotlightParticipant.isPresent, 'spotlight', lit ? 'Unspotlight' : 'Spotlight', () =>
      lit ? call.spotlight.stop(participant) : call.spotlight.start(participant),
    );
    const handUp = call.raisedHands.participantIds.includes(participantId);
    add(able?.muteOthers.isPresent && handUp, 'lower-hand', 'Lower hand', () =>
      call.raisedHands.lowerHands(participant),
    );
    add(able?.removeParticipant.isPresent, 'remove', 'Remove', () =>
      call.removeParticipant(participant),
    );
    const name = participant.displayName || 'Guest';
    if (able?.manageRoles.isPresent) buttons.push(this.#roles(participant, name));
    return this.#row(this.#marked(name, participantId), buttons);
  }

  #roles(participant: RemoteParticipant, name: string): HTMLElement {
    const choice = h(
      'select',
      { 'aria-label': `Role of ${name}`, 'data-testid': 'role-select' },
      h('option', { value: '' }, 'Role…'),
      ...ROLES.map((role) => h('option', { value: role }, role)),
    );
    choice.addEventListener('change', () => {
      const role = ROLES.find((one) => one === choice.value);
      if (role !== undefined) {
        void this.#actions.try(() => this.#call.setRole(participant, role));
      }
    });
    return choice;
  }

  #marked(name: string, participantId: string): string {
    const hand = this.#call.raisedHands.participantIds.includes(participantId) ? ' ✋' : '';
    const light = this.#call.spotlight.participantIds.includes(participantId) ? ' ★' : '';
    return `${name}${hand}${light}`;
  }

  #row(name: string, buttons: readonly HTMLElement[]): HTMLElement {
    return h(
      'div',
      { class: 'people-row', 'data-testid': 'person' },
      h('span', { class: 'people-name' }, name),
      h('span', { class: 'people-buttons' }, ...buttons),
    );
  }

  #button(testId: string, text: string, act: () => Promise<void>): HTMLElement {
    const onclick = () => void this.#actions.try(act);
    return h(
      'button',
      { type: 'button', class: 'secondary', 'data-testid': testId, onclick },
      text,
    );
  }
}
