/**
 * What this client sends in one call: microphone, camera, screen.
 *
 * Owns: the tracks, and their way onto the send transport and into `Publications`. It outlives
 * transports: after a fresh join the same tracks go onto the new one.
 * Never: fails a call for want of a device; one can always just listen.
 */
import { ConvokeError } from '../errors.js';
import { Emitter } from '../events.js';
import type { EncodingDemand, Source } from '../generated/protocol.js';
import { declared } from '../media/encodings.js';
import {
  encodingsOf,
  isVideo,
  SEND_SOURCES,
  type SendOptions,
  type SendTransport,
} from '../media/sendTransport.js';
import type { DeviceManager } from './deviceManager.js';
import { LocalVideoStream } from './localVideoStream.js';
import type { Publications, WantedDetails } from './publications.js';

export interface LocalMediaEvents {
  isMutedChanged: undefined;
  isScreenSharingOnChanged: undefined;
  localVideoStreamsUpdated: {
    readonly added: readonly LocalVideoStream[];
    readonly removed: readonly LocalVideoStream[];
  };
  /** The microphone could not be opened at join, or went away. */
  microphoneFailed: ConvokeError;
}

export class LocalMedia extends Emitter<LocalMediaEvents> {
  readonly #devices: DeviceManager;
  readonly #publications: Publications;
  readonly #options: SendOptions;
  readonly #tracks = new Map<Source, MediaStreamTrack>();
  /** What anybody wants of a track, where the server has said so. */
  readonly #demands = new Map<Source, readonly EncodingDemand[]>();
  #transport: SendTransport | undefined;
  #camera: LocalVideoStream | undefined;
  #screen: LocalVideoStream | undefined;
  #muted = true;
  #closed = false;

  constructor(devices: DeviceManager, publications: Publications, options: SendOptions = {}) {
    super();
    this.#devices = devices;
    this.#publications = publications;
    this.#options = options;
    devices.on('selectedMicrophoneChanged', this.#onMicrophoneSelected);
  }

  get isMuted(): boolean {
    return this.#muted;
  }

  get videoStreams(): readonly LocalVideoStream[] {
    return [this.#camera, this.#screen].filter((stream) => stream !== undefined);
  }

  get isScreenSharingOn(): boolean {
    return this.#screen !== undefined;
  }

  track(source: Source): MediaStreamTrack | undefined {
    return this.#tracks.get(source);
  }

  /** Puts every running track onto a new transport. */
  async attach(transport: SendTransport): Promise<void> {
    this.#transport = transport;
    // The server knows this participant no more, and nobody watches the new one yet.
    this.#demands.clear();
    await Promise.all(
      SEND_SOURCES.map((source) => {
        const track = this.#tracks.get(source);
        return track === undefined ? undefined : transport.setTrack(source, track);
      }),
    );
  }

  /** What is wanted of a track of ours; undefined until the server has said so. */
  demandOf(source: Source): readonly EncodingDemand[] | undefined {
    return this.#demands.get(source);
  }

  /** Sends from now on what the server says is wanted. */
  setDemand(clientId: string, demand: readonly EncodingDemand[]): void {
    const source = SEND_SOURCES.find((s) => this.#publications.get(s)?.clientId === clientId);
    // About a track that we have taken back meanwhile.
    if (source === undefined) return;
    this.#demands.set(source, demand);
    void this.#transport?.setDemand(source, demand);
  }

  async mute(): Promise<void> {
    const track = this.#tracks.get('microphone');
    if (track !== undefined) track.enabled = false;
    this.#publications.setMuted('microphone', true);
    this.#setMuted(true);
    await this.#publications.sync();
  }

  /** Opens the microphone if need be; rejects when it cannot, or when the server refuses it. */
  async unmute(): Promise<void> {
    const track = this.#tracks.get('microphone');
    if (track === undefined || this.#publications.get('microphone') === undefined) {
      await this.#openMicrophone();
      return;
    }
    track.enabled = true;
    this.#publications.setMuted('microphone', false);
    this.#setMuted(false);
    await this.#publications.sync();
  }

  async startVideo(stream: LocalVideoStream): Promise<void> {
    if (this.#camera === stream) return;
    const media = await stream.getMediaStream();
    this.#refuseIfClosed(() => stream.dispose());
    // Asked for twice while it opened.
    if (this.#camera === stream) return;
    if (this.#camera !== undefined) await this.stopVideo(this.#camera);
    const track = media.getVideoTracks()[0];
    if (track === undefined) throw new ConvokeError('cameraFailed', 'The stream has no video.');
    this.#camera = stream;
    stream.on('mediaStreamChanged', this.#onCameraChanged);
    stream.on('ended', this.#onCameraEnded);
    this.emit('localVideoStreamsUpdated', { added: [stream], removed: [] });
    await this.#publish('camera', track, () => this.stopVideo(stream));
  }

  async stopVideo(stream: LocalVideoStream): Promise<void> {
    if (this.#camera !== stream) return;
    this.#camera = undefined;
    stream.off('mediaStreamChanged', this.#onCameraChanged);
    stream.off('ended', this.#onCameraEnded);
    stream.dispose();
    this.emit('localVideoStreamsUpdated', { added: [], removed: [stream] });
    await this.#unpublish('camera');
  }

  async startScreenSharing(): Promise<void> {
    if (this.#screen !== undefined) return;
    const media = await this.#devices.openScreen();
    const stream = new LocalVideoStream(media, { mediaStreamType: 'ScreenSharing' });
    this.#refuseIfClosed(() => stream.dispose());
    const video = media.getVideoTracks()[0];
    if (video === undefined || this.#screen !== undefined) {
      stream.dispose();
      throw new ConvokeError('screenFailed', 'The screen share has no picture.');
    }
    this.#screen = stream;
    stream.on('ended', this.#onScreenEnded);
    this.emit('localVideoStreamsUpdated', { added: [stream], removed: [] });
    this.emit('isScreenSharingOnChanged', undefined);
    const undo = () => this.stopScreenSharing();
    const audio = media.getAudioTracks()[0];
    if (audio !== undefined) await this.#publish('screenAudio', audio, undo);
    await this.#publish('screen', video, undo);
  }

  async stopScreenSharing(): Promise<void> {
    const stream = this.#screen;
    if (stream === undefined) return;
    this.#screen = undefined;
    stream.off('ended', this.#onScreenEnded);
    stream.dispose();
    this.emit('localVideoStreamsUpdated', { added: [], removed: [stream] });
    this.emit('isScreenSharingOnChanged', undefined);
    await Promise.all([this.#unpublish('screen'), this.#unpublish('screenAudio')]);
  }

  /** Stops what may not be sent (any more): the server has taken it away already. */
  async restrict(may: { camera: boolean; microphone: boolean; screen: boolean }): Promise<void> {
    const stopping: Promise<void>[] = [];
    if (!may.camera && this.#camera !== undefined) stopping.push(this.stopVideo(this.#camera));
    if (!may.screen) stopping.push(this.stopScreenSharing());
    if (!may.microphone && this.#tracks.has('microphone')) {
      this.#tracks.get('microphone')?.stop();
      this.#setMuted(true);
      stopping.push(this.#unpublish('microphone'));
    }
    await Promise.all(stopping);
  }

  /** Opens the microphone at join; a failure is an event. */
  async startMicrophone(): Promise<void> {
    try {
      await this.#openMicrophone();
    } catch (error) {
      if (!this.#closed) this.emit('microphoneFailed', ConvokeError.from(error));
    }
  }

  close(): void {
    this.#closed = true;
    this.#devices.off('selectedMicrophoneChanged', this.#onMicrophoneSelected);
    const removed = this.videoStreams;
    this.#camera?.off('mediaStreamChanged', this.#onCameraChanged);
    this.#camera?.off('ended', this.#onCameraEnded);
    this.#screen?.off('ended', this.#onScreenEnded);
    for (const stream of removed) stream.dispose();
    this.#tracks.get('microphone')?.stop();
    this.#tracks.clear();
    this.#demands.clear();
    const shared = this.#screen !== undefined;
    this.#camera = this.#screen = this.#transport = undefined;
    if (removed.length > 0) this.emit('localVideoStreamsUpdated', { added: [], removed });
    if (shared) this.emit('isScreenSharingOnChanged', undefined);
  }

  async #openMicrophone(): Promise<void> {
    const track = await this.#devices.openMicrophone();
    this.#refuseIfClosed(() => track.stop());
    this.#tracks.get('microphone')?.stop();
    track.addEventListener('ended', this.#onMicrophoneEnded);
    this.#setMuted(false);
    await this.#publish('microphone', track, async () => {
      track.stop();
      this.#setMuted(true);
      await this.#unpublish('microphone');
    });
  }

  async #publish(
    source: Source,
    track: MediaStreamTrack,
    undo: () => Promise<void>,
  ): Promise<void> {
    this.#tracks.set(source, track);
    const clientId = this.#want(source, track);
    await this.#transport?.setTrack(source, track);
    await this.#publications.sync();
    const refusal = this.#publications.takeRefusal(clientId);
    if (refusal === undefined) return;
    await undo();
    throw refusal;
  }

  /** Publishes as new: another track of the same source may be sent in other sizes. */
  #want(source: Source, track: MediaStreamTrack): string {
    this.#demands.delete(source);
    void this.#transport?.setDemand(source, undefined);
    return this.#publications.want(source, false, this.#details(source, track));
  }

  #details(source: Source, track: MediaStreamTrack): WantedDetails {
    return {
      ...(isVideo(source)
        ? { encodings: declared(encodingsOf(source, track, this.#options)) }
        : {}),
      ...(this.#options.encrypted ? { encrypted: true } : {}),
    };
  }

  async #unpublish(source: Source): Promise<void> {
    this.#tracks.delete(source);
    this.#demands.delete(source);
    this.#publications.unwant(source);
    await this.#transport?.setTrack(source, null);
    await this.#publications.sync();
  }

  readonly #onCameraChanged = (media: MediaStream | undefined): void => {
    const track = media?.getVideoTracks()[0];
    if (track === undefined) return;
    this.#tracks.set('camera', track);
    void this.#transport?.setTrack('camera', track);
    const before = this.#publications.get('camera')?.encodings;
    if (JSON.stringify(before) === JSON.stringify(this.#details('camera', track).encodings)) return;
    this.#want('camera', track);
    void this.#publications.sync();
  };

  readonly #onCameraEnded = (): void => {
    if (this.#camera !== undefined) void this.stopVideo(this.#camera);
  };

  readonly #onScreenEnded = (): void => {
    void this.stopScreenSharing();
  };

  readonly #onMicrophoneEnded = (): void => {
    void this.#replaceMicrophone();
  };

  readonly #onMicrophoneSelected = (): void => {
    if (this.#tracks.has('microphone')) void this.#replaceMicrophone();
  };

  /** Another microphone takes over; the publication and its mute state stay. */
  async #replaceMicrophone(): Promise<void> {
    const old = this.#tracks.get('microphone');
    try {
      const track = await this.#devices.openMicrophone();
      if (this.#closed || this.#tracks.get('microphone') !== old) {
        track.stop();
        return;
      }
      old?.removeEventListener('ended', this.#onMicrophoneEnded);
      old?.stop();
      track.enabled = !this.#muted;
      track.addEventListener('ended', this.#onMicrophoneEnded);
      this.#tracks.set('microphone', track);
      await this.#transport?.setTrack('microphone', track);
    } catch (error) {
      if (this.#closed || old?.readyState === 'live') return;
      this.#setMuted(true);
      await this.#unpublish('microphone');
      this.emit('microphoneFailed', ConvokeError.from(error));
    }
  }

  #setMuted(muted: boolean): void {
    if (this.#muted === muted) return;
    this.#muted = muted;
    this.emit('isMutedChanged', undefined);
  }

  #refuseIfClosed(release: () => void): void {
    if (!this.#closed) return;
    release();
    throw new ConvokeError('callEnded', 'The call has ended.');
  }
}
