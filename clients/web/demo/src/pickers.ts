/**
 * The three device pickers and the picture quality, on the start page and in a call.
 *
 * Owns: the select boxes and what is chosen in them.
 * Never: opens a device; whoever shows the pickers reacts to `onChange`.
 */
import type { AudioDeviceInfo, DeviceManager, VideoDeviceInfo } from '@convoke/client';
import { h, toggle } from './dom.js';
import { type Preferences, preferences, remember } from './preferences.js';

export type Picked = 'camera' | 'microphone' | 'speaker' | 'quality';

export class Pickers {
  readonly element: HTMLElement;
  readonly #devices: DeviceManager;
  readonly #onChange: (what: Picked) => void;
  readonly #camera = select('camera-select');
  readonly #microphone = select('microphone-select');
  readonly #speaker = select('speaker-select');
  readonly #quality = select('quality-select');
  readonly #speakerField: HTMLElement;

  constructor(devices: DeviceManager, onChange: (what: Picked) => void) {
    this.#devices = devices;
    this.#onChange = onChange;
    this.#speakerField = field('Speaker', this.#speaker);
    this.element = h(
      'div',
      { class: 'pickers' },
      field('Camera', this.#camera),
      field('Microphone', this.#microphone),
      this.#speakerField,
      field('Picture', this.#quality),
    );
    fill(this.#quality, [
      { id: 'standard', name: 'Standard (720p)' },
      { id: 'low', name: 'Low (360p), for slow computers' },
    ]);
    if (preferences.quality === 'low') this.#quality.value = 'low';
    this.#listen(this.#camera, 'camera');
    this.#listen(this.#microphone, 'microphone');
    this.#listen(this.#speaker, 'speaker');
    this.#listen(this.#quality, 'quality');
    devices.on('videoDevicesUpdated', this.#refresh);
    devices.on('audioDevicesUpdated', this.#refresh);
    void this.refresh();
  }

  /** Reads the devices anew; their names are known only after permission was given. */
  async refresh(): Promise<void> {
    await this.#devices.getCameras();
    this.#refresh();
  }

  dispose(): void {
    this.#devices.off('videoDevicesUpdated', this.#refresh);
    this.#devices.off('audioDevicesUpdated', this.#refresh);
  }

  readonly #refresh = async (): Promise<void> => {
    const [cameras, microphones, speakers] = await Promise.all([
      this.#devices.getCameras(),
      this.#devices.getMicrophones(),
      this.#devices.getSpeakers(),
    ]);
    fillDevices(this.#camera, cameras, 'Camera', preferences.camera);
    fillDevices(this.#microphone, microphones, 'Microphone', preferences.microphone);
    fillDevices(this.#speaker, speakers, 'Speaker', preferences.speaker);
    toggle(this.#speakerField, this.#devices.isSpeakerSelectionAvailable && speakers.length > 0);
  };

  #listen(element: HTMLSelectElement, what: Picked): void {
    element.addEventListener('change', () => {
      remember({ [what]: element.value } as Partial<Preferences>);
      this.#onChange(what);
    });
  }
}

/** Hands the chosen microphone and speaker to the SDK. */
export async function applyAudioChoice(devices: DeviceManager): Promise<void> {
  const pick = (list: readonly AudioDeviceInfo[], id: string) => list.find((d) => d.id === id);
  const microphone = pick(await devices.getMicrophones(), preferences.microphone);
  if (microphone !== undefined && microphone.id !== devices.selectedMicrophone?.id) {
    await devices.selectMicrophone(microphone);
  }
  const speaker = pick(await devices.getSpeakers(), preferences.speaker);
  if (
    speaker !== undefined &&
    devices.isSpeakerSelectionAvailable &&
    speaker.id !== devices.selectedSpeaker?.id
  ) {
    await devices.selectSpeaker(speaker);
  }
}

function select(testId: string): HTMLSelectElement {
  return h('select', { 'data-testid': testId });
}

function field(label: string, control: HTMLElement): HTMLElement {
  return h('label', { class: 'field' }, h('span', { class: 'field-label' }, label), control);
}

function fillDevices(
  element: HTMLSelectElement,
  devices: readonly (VideoDeviceInfo | AudioDeviceInfo)[],
  kind: string,
  chosen: string,
): void {
  const named = devices.map((device, index) => ({
    id: device.id,
    name: device.name === '' ? `${kind} ${index + 1}` : device.name,
  }));
  fill(element, named.length === 0 ? [{ id: '', name: `No ${kind.toLowerCase()} found` }] : named);
  element.disabled = named.length === 0;
  if (named.some((device) => device.id === chosen)) element.value = chosen;
}

function fill(element: HTMLSelectElement, options: readonly { id: string; name: string }[]): void {
  element.replaceChildren(...options.map(({ id, name }) => h('option', { value: id }, name)));
}
