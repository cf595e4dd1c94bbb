/**
 * The page before a call: preview, devices, name, which call.
 *
 * Owns: the form and what it says about mistakes.
 * Never: connects; `main` does, with what the form gives.
 */
import {
  ConvokeError,
  type DeviceManager,
  type LocalVideoStream,
  VideoStreamRenderer,
} from '@convoke/client';
import { chosenCamera } from './camera.js';
import { h, toggle } from './dom.js';
import { icon } from './icons.js';
import { callIdIn } from './link.js';
import { Meter } from './meter.js';
import { applyAudioChoice, Pickers } from './pickers.js';
import { flipTheme, preferences, remember } from './preferences.js';
import { type Explanation, explain, initials } from './words.js';

export interface JoinRequest {
  readonly name: string;
  readonly callId: string;
  readonly token: string;
  readonly microphone: boolean;
  readonly camera: LocalVideoStream | undefined;
}

export interface StartOptions {
  readonly devices: DeviceManager;
  readonly callId: string | undefined;
  readonly name: string;
  readonly askToken: boolean;
  readonly token: string;
  readonly problem: Explanation | undefined;
  /** Leaves the page when it resolves; shows the error when it rejects. */
  readonly onJoin: (request: JoinRequest) => Promise<void>;
}

export class StartPage {
  readonly element: HTMLElement;
  readonly #options: StartOptions;
  readonly #meter = new Meter();
  readonly #pickers: Pickers;
  readonly #screen = h('div', { class: 'preview-screen', 'data-testid': 'preview' });
  readonly #avatar = h('div', { class: 'avatar large', 'aria-hidden': 'true' });
  readonly #hint = h('p', {
    class: 'hint',
    role: 'status',
    'data-testid': 'device-hint',
    hidden: true,
  });
  readonly #error = h('div', {
    class: 'error',
    role: 'alert',
    'data-testid': 'error-box',
    hidden: true,
  });
  readonly #name = h('input', {
    'data-testid': 'name-input',
    name: 'name',
    autocomplete: 'name',
    maxlength: 64,
    required: true,
    placeholder: 'How others see you',
  });
  readonly #callId = h('input', {
    'data-testid': 'call-id-input',
    name: 'call',
    autocomplete: 'off',
    spellcheck: 'false',
    placeholder: 'Paste a link or a call ID',
  });
  readonly #token = h('input', {
    'data-testid': 'token-input',
    type: 'password',
    autocomplete: 'off',
    spellcheck: 'false',
    placeholder: 'eyJ…',
  });
  readonly #tokenField: HTMLElement;
  readonly #start: HTMLButtonElement;
  readonly #join: HTMLButtonElement;
  readonly #micButton: HTMLButtonElement;
  readonly #cameraButton: HTMLButtonElement;
  #microphone = true;
  #cameraOn = true;
  #camera: LocalVideoStream | undefined;
  #renderer: VideoStreamRenderer | undefined;
  #busy = false;
  #left = false;

  constructor(options: StartOptions) {
    this.#options = options;
    this.#pickers = new Pickers(options.devices, (what) => {
      if (what === 'microphone') void this.#startMicrophone();
      if (what === 'camera' || what === 'quality') void this.#startCamera();
      void applyAudioChoice(options.devices).catch(() => undefined);
    });
    const button = (testId: string, onClick: () => void) =>
      h('button', { type: 'button', class: 'round', 'data-testid': testId, onclick: onClick });
    this.#micButton = button('preview-mic-button', () => this.#toggleMicrophone());
    this.#cameraButton = button('preview-camera-button', () => this.#toggleCamera());
    this.#start = h('button', { type: 'button', 'data-testid': 'start-call' }, 'Start a new call');
    this.#join = h('button', { type: 'submit', 'data-testid': 'join-call' }, 'Join');
    this.#start.addEventListener('click', () => this.#submit(crypto.randomUUID()));
    this.#tokenField = this.#field('Access token', this.#token);
    this.#tokenField.append(
      h(
        'small',
        {},
        'This server needs an access token. Ask whoever runs it; the token is only kept while this page is open.',
      ),
    );
    this.#name.value = options.name;
    this.#callId.value = options.callId ?? '';
    this.#token.value = options.token;
    this.#name.addEventListener('input', () => this.#showAvatar());
    this.#callId.addEventListener('input', () => this.#rank());
    this.element = this.#build();
    this.askToken(options.askToken);
    if (options.problem !== undefined) this.showProblem(options.problem);
    this.#rank();
    this.#showAvatar();
    this.#showButtons();
    void this.#startDevices();
  }

  /** Shows or hides the field for a pasted token. */
  askToken(needed: boolean): void {
    toggle(this.#tokenField, needed);
    if (needed && this.#token.value === '') this.#token.focus();
  }

  showProblem({ title, advice }: Explanation): void {
    this.#error.replaceChildren(
      icon('alert'),
      h('div', {}, h('strong', {}, title), h('p', {}, advice)),
    );
    toggle(this.#error, true);
    this.#error.scrollIntoView?.({ block: 'nearest' });
  }

  /** Closes what the call does not take over. */
  dispose(): void {
    this.#left = true;
    this.#meter.stop();
    this.#pickers.dispose();
    this.#renderer?.dispose();
    this.element.remove();
  }

  #build(): HTMLElement {
    const form = h(
      'form',
      {
        class: 'card join-form',
        onsubmit: (event) => {
          event.preventDefault();
          this.#submitPasted();
        },
      },
      h('h2', {}, this.#options.callId === undefined ? 'Start or join a call' : 'Join the call'),
      this.#error,
      this.#field('Your name', this.#name),
      this.#tokenField,
      this.#field('Call', h('div', { class: 'row' }, this.#callId, this.#join)),
      h('div', { class: 'or', 'aria-hidden': 'true' }, 'or'),
      this.#start,
    );
    const preview = h(
      'section',
      { class: 'preview', 'aria-label': 'Preview' },
      h(
        'div',
        { class: 'preview-frame' },
        this.#avatar,
        this.#screen,
        h('div', { class: 'preview-controls' }, this.#micButton, this.#cameraButton),
      ),
      this.#meter.element,
      this.#hint,
      this.#pickers.element,
    );
    return h(
      'main',
      { class: 'start-page' },
      h(
        'header',
        { class: 'start-header' },
        h('h1', {}, h('img', { src: '/favicon.svg', alt: '', width: 36, height: 36 }), 'Convoke'),
        h(
          'button',
          {
            type: 'button',
            class: 'round quiet',
            title: 'Light or dark',
            'aria-label': 'Switch between light and dark',
            'data-testid': 'theme-button',
            onclick: flipTheme,
          },
          icon('sun'),
        ),
      ),
      h('div', { class: 'start-columns' }, preview, form),
    );
  }

  #field(label: string, control: HTMLElement): HTMLElement {
    return h('label', { class: 'field' }, h('span', { class: 'field-label' }, label), control);
  }

  #submitPasted(): void {
    const callId = callIdIn(this.#callId.value);
    if (callId !== undefined) {
      this.#submit(callId);
      return;
    }
    const empty = this.#callId.value.trim() === '';
    this.showProblem({
      title: empty ? 'Which call?' : 'That is not a call ID',
      advice: empty
        ? 'Paste the link or ID that you were sent, or start a new call.'
        : 'An ID looks like 29228d3e-040e-4656-a70e-890ab4e173e5. Paste the whole link or ID.',
    });
    this.#callId.focus();
  }

  async #submit(callId: string): Promise<void> {
    if (this.#busy) return;
    if (!this.#name.reportValidity()) return;
    const name = this.#name.value.trim();
    remember({ name });
    this.#setBusy(true);
    toggle(this.#error, false);
    try {
      this.#meter.stop();
      await this.#options.onJoin({
        name,
        callId,
        token: this.#token.value,
        microphone: this.#microphone,
        camera: this.#cameraOn ? this.#camera : undefined,
      });
    } catch (error) {
      if (this.#left) return;
      const known =
        error instanceof ConvokeError ? error : new ConvokeError('internal', String(error));
      this.showProblem(explain(known));
      void this.#startMicrophone();
      if (this.#cameraOn) void this.#startCamera();
    } finally {
      this.#setBusy(false);
    }
  }

  #setBusy(busy: boolean): void {
    this.#busy = busy;
    this.#start.disabled = busy;
    this.#join.disabled = busy;
    this.element.setAttribute('aria-busy', String(busy));
    this.#rank();
  }

  /** The button that fits what was pasted stands out. */
  #rank(): void {
    const pasted = this.#callId.value.trim() !== '';
    this.#join.className = pasted ? 'primary' : 'secondary';
    this.#start.className = pasted ? 'secondary wide' : 'primary wide';
    this.#join.textContent = this.#busy && pasted ? 'Joining…' : 'Join';
    this.#start.textContent = this.#busy && !pasted ? 'Starting…' : 'Start a new call';
  }

  async #startDevices(): Promise<void> {
    // Not on a touch screen, where the keyboard would cover the preview.
    if (matchMedia('(pointer: fine)').matches) this.#name.focus();
    // One after the other: the browser asks for one permission at a time.
    await this.#startCamera();
    await this.#startMicrophone();
    if (!this.#left) await this.#pickers.refresh();
  }

  async #startMicrophone(): Promise<void> {
    if (!this.#microphone || this.#left) return;
    try {
      await this.#meter.start();
      await applyAudioChoice(this.#options.devices);
    } catch (error) {
      this.#microphone = false;
      this.#warn('microphone', error);
    }
    this.#showButtons();
  }

  async #startCamera(): Promise<void> {
    this.#renderer?.dispose();
    this.#camera?.dispose();
    this.#camera = undefined;
    if (!this.#cameraOn || this.#left) return;
    try {
      const camera = await chosenCamera(this.#options.devices);
      const renderer = new VideoStreamRenderer(camera);
      const view = await renderer.createView({ scalingMode: 'Crop' });
      if (this.#left || !this.#cameraOn) {
        renderer.dispose();
        camera.dispose();
        return;
      }
      this.#camera = camera;
      this.#renderer = renderer;
      this.#screen.replaceChildren(view.target);
    } catch (error) {
      this.#cameraOn = false;
      this.#warn('camera', error);
    }
    this.#showButtons();
  }

  #toggleMicrophone(): void {
    this.#microphone = !this.#microphone;
    if (this.#microphone) void this.#startMicrophone();
    else this.#meter.stop();
    this.#showButtons();
  }

  #toggleCamera(): void {
    this.#cameraOn = !this.#cameraOn;
    void this.#startCamera();
    this.#showButtons();
  }

  #warn(kind: 'microphone' | 'camera', error: unknown): void {
    const denied = error instanceof Error && error.name === 'NotAllowedError';
    const missing = error instanceof Error && error.name === 'NotFoundError';
    const outcome = denied ? 'Denied' : missing ? 'NotFound' : 'Failed';
    const known = error instanceof ConvokeError ? error : new ConvokeError(`${kind}${outcome}`, '');
    const { title, advice } = explain(known);
    this.#hint.append(h('span', {}, h('strong', {}, `${title}. `), advice));
    toggle(this.#hint, true);
  }

  #showAvatar(): void {
    this.#avatar.textContent = initials(this.#name.value || preferences.name);
  }

  #showButtons(): void {
    const show = (button: HTMLButtonElement, on: boolean, what: 'microphone' | 'camera') => {
      button.replaceChildren(icon(on ? what : `${what}Off`));
      button.classList.toggle('off', !on);
      button.setAttribute('aria-pressed', String(on));
      const label = `${on ? 'Turn off' : 'Turn on'} ${what}`;
      button.setAttribute('aria-label', label);
      button.title = label;
    };
    show(this.#micButton, this.#microphone, 'microphone');
    show(this.#cameraButton, this.#cameraOn, 'camera');
  }
}
