/**
 * A camera or any other video that this client can publish and preview.
 *
 * Owns: opening and closing of its camera; one open camera serves preview and call.
 * Never: publishes; `Call.startVideo` does. Never stops tracks that the app handed in.
 */
import { BROWSER, type Environment } from '../environment.js';
import { ConvokeError, captureError } from '../errors.js';
import { Emitter } from '../events.js';
import type { VideoDeviceInfo } from './deviceManager.js';

export type MediaStreamType = 'Video' | 'ScreenSharing';

/** The wanted picture; the camera gives what comes nearest. */
export interface VideoQuality {
  readonly width: number;
  readonly height: number;
  readonly frameRate: number;
}

/** Those who show it small, or have little bandwidth, get a smaller encoding of it. */
export const DEFAULT_QUALITY: VideoQuality = { width: 1280, height: 720, frameRate: 30 };

export interface LocalVideoStreamEvents {
  /** Another `MediaStream` is shown, or (undefined) none. */
  mediaStreamChanged: MediaStream | undefined;
  /** The camera was unplugged, or the person ended the screen share in the browser. */
  ended: undefined;
}

export class LocalVideoStream extends Emitter<LocalVideoStreamEvents> {
  readonly mediaStreamType: MediaStreamType;
  readonly #quality: VideoQuality;
  readonly #environment: Environment;
  #source: VideoDeviceInfo | MediaStream;
  #opening: Promise<MediaStream> | undefined;
  #stream: MediaStream | undefined;

  constructor(
    source: VideoDeviceInfo | MediaStream,
    options: {
      quality?: Partial<VideoQuality>;
      mediaStreamType?: MediaStreamType;
      /** @internal */
      environment?: Environment;
    } = {},
  ) {
    super();
    this.#source = source;
    this.#quality = { ...DEFAULT_QUALITY, ...options.quality };
    this.#environment = options.environment ?? BROWSER;
    this.mediaStreamType = options.mediaStreamType ?? 'Video';
    if (isStream(source)) this.#adopt(source);
  }

  /** The camera or stream that this was made from. */
  get source(): VideoDeviceInfo | MediaStream {
    return this.#source;
  }

  /** The open stream; undefined while the camera is closed. */
  get mediaStream(): MediaStream | undefined {
    return this.#stream;
  }

  /** Opens the camera if it is closed. */
  getMediaStream(): Promise<MediaStream> {
    if (this.#stream !== undefined) return Promise.resolve(this.#stream);
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** Shows another camera or stream; a running call goes on with it. */
  async switchSource(source: VideoDeviceInfo | MediaStream): Promise<void> {
    const wasOpen = this.#stream !== undefined || this.#opening !== undefined;
    await this.#opening?.catch(() => undefined);
    this.#release();
    this.#source = source;
    if (isStream(source)) this.#adopt(source);
    else if (wasOpen) await this.getMediaStream();
  }

  /** Closes the camera (its light goes off); `getMediaStream` opens it again. */
  dispose(): void {
    const close = () => {
      if (this.#stream === undefined) return;
      this.#release();
      this.emit('mediaStreamChanged', undefined);
    };
    this.#opening?.then(close).catch(() => undefined);
    close();
  }

  async #open(): Promise<MediaStream> {
    const source = this.#source;
    if (isStream(source)) {
      this.#adopt(source);
      return source;
    }
    const devices = this.#environment.mediaDevices();
    if (devices === undefined) {
      throw new ConvokeError('notSupported', 'The browser gives no access to cameras here.');
    }
    const { width, height, frameRate } = this.#quality;
    const device = source.id === '' ? {} : { deviceId: { exact: source.id } };
    try {
      const stream = await devices.getUserMedia({
        video: {
          width: { ideal: width },
          height: { ideal: height },
          frameRate: { ideal: frameRate },
          ...device,
        },
      });
      this.#adopt(stream);
      return stream;
    } catch (error) {
      throw captureError('camera', error);
    }
  }

  #adopt(stream: MediaStream): void {
    this.#stream = stream;
    stream.getVideoTracks()[0]?.addEventListener('ended', this.#onEnded);
    this.emit('mediaStreamChanged', stream);
  }

  #release(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.getVideoTracks()[0]?.removeEventListener('ended', this.#onEnded);
    const ours = !isStream(this.#source) || this.mediaStreamType === 'ScreenSharing';
    if (ours) for (const track of stream?.getTracks() ?? []) track.stop();
  }

  readonly #onEnded = (): void => {
    this.#stream = undefined;
    this.emit('mediaStreamChanged', undefined);
    this.emit('ended', undefined);
  };
}

function isStream(source: VideoDeviceInfo | MediaStream): source is MediaStream {
  return 'getVideoTracks' in source;
}
