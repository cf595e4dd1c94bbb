/**
 * Cameras, microphones and speakers, and which of them are chosen.
 *
 * Owns: enumeration, permission, the selected microphone and speaker.
 * Never: keeps a device open; streams and calls do.
 */
import type { Environment } from '../environment.js';
import { type CaptureKind, ConvokeError, captureError } from '../errors.js';
import { Emitter } from '../events.js';

/** A camera. */
export interface VideoDeviceInfo {
  readonly id: string;
  /** Empty until permission was given. */
  readonly name: string;
}

/** A microphone or a speaker. */
export interface AudioDeviceInfo {
  readonly id: string;
  /** Empty until permission was given. */
  readonly name: string;
  readonly isSystemDefault: boolean;
  readonly deviceType: 'Microphone' | 'Speaker';
}

/** What `askDevicePermission` got, and why not. */
export interface DevicePermission {
  readonly audio: boolean;
  readonly video: boolean;
  readonly audioError?: ConvokeError;
  readonly videoError?: ConvokeError;
}

interface Updated<T> {
  readonly added: readonly T[];
  readonly removed: readonly T[];
}

export interface DeviceManagerEvents {
  videoDevicesUpdated: Updated<VideoDeviceInfo>;
  audioDevicesUpdated: Updated<AudioDeviceInfo>;
  selectedMicrophoneChanged: AudioDeviceInfo;
  selectedSpeakerChanged: AudioDeviceInfo;
}

export class DeviceManager extends Emitter<DeviceManagerEvents> {
  readonly #environment: Environment;
  #cameras: VideoDeviceInfo[] = [];
  #audio: AudioDeviceInfo[] = [];
  #microphone: AudioDeviceInfo | undefined;
  #speaker: AudioDeviceInfo | undefined;

  /** @internal */
  constructor(environment: Environment) {
    super();
    this.#environment = environment;
    environment.mediaDevices()?.addEventListener('devicechange', () => void this.#refresh());
  }

  /** Undefined until one is selected: then the browser's default is used. */
  get selectedMicrophone(): AudioDeviceInfo | undefined {
    return this.#microphone;
  }

  /** Undefined until one is selected: then the browser's default is used. */
  get selectedSpeaker(): AudioDeviceInfo | undefined {
    return this.#speaker;
  }

  /** Whether this browser lets a page choose the speaker. */
  get isSpeakerSelectionAvailable(): boolean {
    return typeof HTMLMediaElement !== 'undefined' && 'setSinkId' in HTMLMediaElement.prototype;
  }

  async getCameras(): Promise<VideoDeviceInfo[]> {
    await this.#refresh();
    return [...this.#cameras];
  }

  async getMicrophones(): Promise<AudioDeviceInfo[]> {
    await this.#refresh();
    return this.#audio.filter((device) => device.deviceType === 'Microphone');
  }

  async getSpeakers(): Promise<AudioDeviceInfo[]> {
    await this.#refresh();
    return this.#audio.filter((device) => device.deviceType === 'Speaker');
  }

  /** Asks the person for the microphone, the camera or both; a missing one never spoils the other. */
  async askDevicePermission(wanted: { audio: boolean; video: boolean }): Promise<DevicePermission> {
    const ask = async (kind: CaptureKind, constraints: MediaStreamConstraints) => {
      try {
        stop(await this.open(kind, constraints));
        return undefined;
      } catch (error) {
        return captureError(kind, error);
      }
    };
    let audioError: ConvokeError | undefined;
    let videoError: ConvokeError | undefined;
    const both = wanted.audio && wanted.video;
    // One prompt for both where both are there.
    if (!both || (await ask('microphone', { audio: true, video: true })) !== undefined) {
      if (wanted.audio) audioError = await ask('microphone', { audio: true });
      if (wanted.video) videoError = await ask('camera', { video: true });
    }
    await this.#refresh();
    return {
      audio: wanted.audio && audioError === undefined,
      video: wanted.video && videoError === undefined,
      ...(audioError === undefined ? {} : { audioError }),
      ...(videoError === undefined ? {} : { videoError }),
    };
  }

  /** Used by calls from now on, running ones included. */
  async selectMicrophone(microphone: AudioDeviceInfo): Promise<void> {
    this.#microphone = microphone;
    this.emit('selectedMicrophoneChanged', microphone);
  }

  /** Used by calls from now on, running ones included. */
  async selectSpeaker(speaker: AudioDeviceInfo): Promise<void> {
    if (!this.isSpeakerSelectionAvailable) {
      throw new ConvokeError(
        'notSupported',
        'This browser does not let a page choose the speaker.',
      );
    }
    this.#speaker = speaker;
    this.emit('selectedSpeakerChanged', speaker);
  }

  /** @internal Opens devices; rejects with a `ConvokeError`. */
  async open(kind: CaptureKind, constraints: MediaStreamConstraints): Promise<MediaStream> {
    const devices = this.#environment.mediaDevices();
    if (devices === undefined) {
      throw new ConvokeError(
        'notSupported',
        'The browser gives no access to devices here: the page must come by HTTPS or from localhost.',
      );
    }
    try {
      return await devices.getUserMedia(constraints);
    } catch (error) {
      throw captureError(kind, error);
    }
  }

  /** @internal The selected microphone, or the default one where it is gone. */
  async openMicrophone(): Promise<MediaStreamTrack> {
    const processing = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    const id = this.#microphone?.id;
    const device = id === undefined || id === '' ? {} : { deviceId: { ideal: id } };
    const stream = await this.open('microphone', { audio: { ...processing, ...device } });
    const track = stream.getAudioTracks()[0];
    if (track === undefined) throw new ConvokeError('microphoneFailed', 'No audio track came.');
    return track;
  }

  /** @internal Asks for a screen, window or tab, with its sound where there is one. */
  async openScreen(): Promise<MediaStream> {
    const devices = this.#environment.mediaDevices();
    if (devices === undefined || !('getDisplayMedia' in devices)) {
      throw new ConvokeError('notSupported', 'This browser cannot share the screen.');
    }
    try {
      return await devices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: true });
    } catch (error) {
      throw captureError('screen', error);
    }
  }

  async #refresh(): Promise<void> {
    const devices = (await this.#environment.mediaDevices()?.enumerateDevices()) ?? [];
    const cameras = devices
      .filter((device) => device.kind === 'videoinput')
      .map((device) => ({ id: device.deviceId, name: device.label }));
    const audio = devices
      .filter((device) => device.kind !== 'videoinput')
      .map((device) => ({
        id: device.deviceId,
        name: device.label,
        isSystemDefault: device.deviceId === 'default',
        deviceType: device.kind === 'audioinput' ? ('Microphone' as const) : ('Speaker' as const),
      }));
    const video = difference(this.#cameras, cameras);
    const sound = difference(this.#audio, audio);
    this.#cameras = cameras;
    this.#audio = audio;
    if (video !== undefined) this.emit('videoDevicesUpdated', video);
    if (sound !== undefined) this.emit('audioDevicesUpdated', sound);
  }
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/** What came and went; a device whose name became known counts as new. */
function difference<T extends { id: string; name: string; deviceType?: string }>(
  before: readonly T[],
  after: readonly T[],
): Updated<T> | undefined {
  const key = (device: T) => `${device.deviceType ?? ''}/${device.id}/${device.name}`;
  const old = new Set(before.map(key));
  const now = new Set(after.map(key));
  const added = after.filter((device) => !old.has(key(device)));
  const removed = before.filter((device) => !now.has(key(device)));
  return added.length + removed.length === 0 ? undefined : { added, removed };
}
