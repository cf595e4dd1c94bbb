/**
 * The page of a running call.
 *
 * Owns: header, banners, tiles, controls, and what the buttons do.
 * Never: joins or reconnects; the SDK does the latter by itself.
 */
import { type Call, type CallAgent, ConvokeError, type DeviceManager } from '@convoke/client';
import { chosenCamera } from './camera.js';
import { ChatPanel } from './chatPanel.js';
import { Controls } from './controls.js';
import { h, toggle } from './dom.js';
import { icon } from './icons.js';
import { linkTo } from './link.js';
import { Notices } from './notices.js';
import { PeoplePanel } from './peoplePanel.js';
import { applyAudioChoice, type Picked, Pickers } from './pickers.js';
import { StageView } from './stageView.js';
import { StatsOverlay } from './statsOverlay.js';
import { cannotDecrypt, explain } from './words.js';

export interface CallPageOptions {
  readonly agent: CallAgent;
  readonly call: Call;
  readonly devices: DeviceManager;
}

export class CallPage {
  readonly element: HTMLElement;
  readonly #call: Call;
  readonly #devices: DeviceManager;
  readonly #stage: StageView;
  readonly #stats: StatsOverlay;
  readonly #chat: ChatPanel;
  readonly #controls: Controls;
  readonly #people: PeoplePanel;
  readonly #notices = new Notices();
  readonly #pickers: Pickers;
  readonly #settings: HTMLDialogElement;
  readonly #link: string;
  readonly #startedMs = Date.now();
  readonly #unreadable = new Set<string>();
  readonly #count = h('span', { 'data-testid': 'participant-count' });
  readonly #clock = h('time', { class: 'clock' });
  readonly #banner = h('div', {
    class: 'banner',
    role: 'status',
    'data-testid': 'connection-banner',
    hidden: true,
  });
  readonly #sound: HTMLElement;
  readonly #alone: HTMLElement;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor({ agent, call, devices }: CallPageOptions) {
    this.#call = call;
    this.#devices = devices;
    this.#link = linkTo(call.groupId, location.origin);
    this.#stage = new StageView(call, {
      name: agent.displayName || 'Me',
      identity: agent.identity,
    });
    this.#stats = new StatsOverlay(call, () => this.#stage.tiles);
    this.#chat = new ChatPanel(call, {
      onChange: () => this.#show(),
      onProblem: (problem) => this.#notices.problem(problem),
    });
    this.#people = new PeoplePanel(call, { try: (action) => this.#try(action) });
    this.#controls = new Controls(
      {
        microphone: () => this.#try(() => (call.isMuted ? call.unmute() : call.mute())),
        camera: () => this.#try(() => this.#toggleCamera()),
        screen: () => this.#try(() => this.#toggleScreen()),
        copyLink: () => this.#copyLink(),
        chat: () => this.#chat.toggle(),
        people: () => this.#people.open(),
        hand: () =>
          this.#try(() =>
            this.#handIsUp ? call.raisedHands.lowerHand() : call.raisedHands.raiseHand(),
          ),
        stats: () => {
          this.#stats.toggle();
          this.#show();
        },
        settings: () => this.#settings.showModal(),
        leave: () => call.hangUp(),
      },
      'getDisplayMedia' in (navigator.mediaDevices ?? {}),
    );
    this.#pickers = new Pickers(devices, (what) => void this.#try(() => this.#deviceChosen(what)));
    this.#settings = this.#buildSettings();
    this.#sound = this.#buildSoundBanner();
    this.#alone = this.#buildInvitation();
    this.element = this.#build();
    this.#listen();
    this.#timer = setInterval(() => this.#tick(), 1_000);
    this.#tick();
    this.#show();
  }

  dispose(): void {
    clearInterval(this.#timer);
    this.#stats.close();
    this.#chat.dispose();
    this.#controls.dispose();
    this.#pickers.dispose();
    this.#stage.dispose();
    this.element.remove();
  }

  #build(): HTMLElement {
    const call = this.#call;
    return h(
      'main',
      { class: 'call-page' },
      h(
        'header',
        { class: 'call-header' },
        h('h1', {}, h('img', { src: '/favicon.svg', alt: '', width: 26, height: 26 }), 'Convoke'),
        call.isEncrypted &&
          h(
            'span',
            { class: 'chip', title: 'Encrypted end to end', 'data-testid': 'e2ee-chip' },
            icon('lock'),
          ),
        h('span', { class: 'chip', title: 'In the call' }, icon('people'), this.#count),
        this.#clock,
      ),
      this.#banner,
      this.#sound,
      h(
        'div',
        { class: 'call-body' },
        h('div', { class: 'call-stage' }, this.#stage.element, this.#alone, this.#stats.element),
        this.#chat.element,
      ),
      this.#notices.element,
      this.#controls.element,
      this.#settings,
      this.#people.element,
    );
  }

  #buildSettings(): HTMLDialogElement {
    const dialog = h(
      'dialog',
      { class: 'card', 'aria-label': 'Devices', 'data-testid': 'settings-dialog' },
      h('h2', {}, 'Devices'),
      this.#pickers.element,
      h('button', { type: 'button', class: 'primary wide', onclick: () => dialog.close() }, 'Done'),
    );
    return dialog;
  }

  #buildSoundBanner(): HTMLElement {
    const resume = () => void this.#try(() => this.#call.resumeAudio());
    return h(
      'div',
      { class: 'banner sound', role: 'alert', hidden: !this.#call.isAudioPlaybackBlocked },
      'The browser keeps the call silent until you say so.',
      h(
        'button',
        { type: 'button', class: 'primary', 'data-testid': 'resume-audio', onclick: resume },
        'Turn on sound',
      ),
    );
  }

  #buildInvitation(): HTMLElement {
    return h(
      'div',
      { class: 'invitation', 'data-testid': 'invitation' },
      h('p', {}, 'Nobody else is here yet. Send this link to those you wait for:'),
      h('code', { 'data-testid': 'call-link' }, this.#link),
      h(
        'button',
        { type: 'button', class: 'primary', onclick: () => void this.#copyLink() },
        'Copy link',
      ),
    );
  }

  #listen(): void {
    const call = this.#call;
    for (const name of [
      'isMutedChanged',
      'localVideoStreamsUpdated',
      'isScreenSharingOnChanged',
      'connectionStateChanged',
      'audioPlaybackBlocked',
      'audioPlaybackResumed',
      'roleChanged',
      'capabilitiesChanged',
      'ringingChanged',
    ] as const) {
      call.on(name, () => this.#show());
    }
    call.on('remoteParticipantsUpdated', ({ added, removed }) => {
      for (const { displayName } of added) this.#notices.say(`${displayName || 'Guest'} joined`);
      for (const { displayName } of removed) this.#notices.say(`${displayName || 'Guest'} left`);
      this.#show();
    });
    this.#listenToModeration();
    call.on('decryptionFailed', ({ participantId }) => this.#undecipherable(participantId));
    call.on('microphoneFailed', (error) => this.#notices.problem(explain(error)));
  }

  #listenToModeration(): void {
    const call = this.#call;
    let waited = 0;
    call.lobby.on('lobbyParticipantsUpdated', () => {
      const waiting = call.lobby.participants.length;
      if (waiting > waited) this.#notices.say('Someone waits in the lobby');
      waited = waiting;
      this.#show();
    });
    call.spotlight.on('spotlightChanged', () => this.#show());
    call.raisedHands.on('raisedHandsChanged', () => this.#show());
    call.on('roleChanged', () => {
      if (call.role !== undefined) this.#notices.say(`You are ${call.role} now`);
    });
    call.on('mutedByOthers', ({ by }) => {
      const who = call.remoteParticipants.find((one) => one.participantId === by);
      this.#notices.say(`${who?.displayName || 'The host'} muted you`);
    });
  }

  get #handIsUp(): boolean {
    return this.#call.raisedHands.participantIds.includes(this.#call.participantId);
  }

  /** Said once of each person: it goes on as long as the keys differ. */
  #undecipherable(participantId: string | undefined): void {
    if (this.#unreadable.has(participantId ?? '')) return;
    this.#unreadable.add(participantId ?? '');
    const sender = this.#call.remoteParticipants.find((p) => p.participantId === participantId);
    this.#notices.problem(cannotDecrypt(sender?.displayName || 'someone'));
  }

  /** Brings everything that depends on the call's state up to date. */
  #show(): void {
    const call = this.#call;
    this.#controls.show({
      microphone: !call.isMuted,
      camera: call.localVideoStreams.some((stream) => stream.mediaStreamType === 'Video'),
      screen: call.isScreenSharingOn,
      stats: this.#stats.open,
      chat: this.#chat.open,
      hand: this.#handIsUp,
      waiting: call.lobby.participants.length,
      unread: this.#chat.unread,
    });
    const others = call.remoteParticipants.length;
    this.#count.textContent = String(others + 1);
    toggle(this.#alone, others === 0 && !call.isScreenSharingOn);
    const rings = call.ringing.some((target) => target.state === 'ringing');
    this.element.dataset.ringing = String(rings);
    if (this.#people.element.open) this.#people.show();
    toggle(this.#sound, call.isAudioPlaybackBlocked);
    const state = call.connectionState;
    this.#banner.textContent =
      state === 'Reconnecting'
        ? 'Reconnecting…'
        : state === 'Connecting'
          ? 'Connecting…'
          : 'Ringing…';
    this.#banner.dataset.state = state;
    this.element.dataset.connection = state;
    toggle(this.#banner, state === 'Connecting' || state === 'Reconnecting' || rings);
  }

  #tick(): void {
    const seconds = Math.floor((Date.now() - this.#startedMs) / 1000);
    const two = (n: number) => String(n).padStart(2, '0');
    const hours = Math.floor(seconds / 3600);
    const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    this.#clock.textContent = hours > 0 ? `${hours}:${rest}` : rest;
  }

  async #try(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (cause) {
      const error =
        cause instanceof ConvokeError ? cause : new ConvokeError('internal', String(cause));
      // Who closes the browser's own dialogue knows that nothing is shared.
      if (error.code !== 'screenDenied') this.#notices.problem(explain(error));
    }
    this.#show();
  }

  async #toggleCamera(): Promise<void> {
    const call = this.#call;
    const running = call.localVideoStreams.find((stream) => stream.mediaStreamType === 'Video');
    if (running === undefined) await call.startVideo(await chosenCamera(this.#devices));
    else await call.stopVideo(running);
  }

  #toggleScreen(): Promise<void> {
    const call = this.#call;
    return call.isScreenSharingOn ? call.stopScreenSharing() : call.startScreenSharing();
  }

  async #deviceChosen(what: Picked): Promise<void> {
    await applyAudioChoice(this.#devices);
    if (what !== 'camera' && what !== 'quality') return;
    const call = this.#call;
    const running = call.localVideoStreams.find((stream) => stream.mediaStreamType === 'Video');
    if (running === undefined) return;
    // First off, then on: many cameras can be open only once.
    await call.stopVideo(running);
    await call.startVideo(await chosenCamera(this.#devices));
  }

  async #copyLink(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.#link);
      this.#notices.say('Link copied');
    } catch {
      this.#notices.say(this.#link);
    }
  }
}
