/**
 * Shows a local or remote video stream in an element.
 *
 * Owns: a `<video>` for each view, and its way from slot to slot.
 * Never: shows the pictures of one person under the name of another: after a slot changed hands
 * the view stays hidden until packets of the new source come.
 */
import { ConvokeError } from '../errors.js';
import { LocalVideoStream } from '../local/localVideoStream.js';
import { newestCsrc } from '../media/receiveTransport.js';
import { watchBox } from './elementBox.js';
import { type Attachment, RemoteVideoStream } from './remoteVideoStream.js';

export type ScalingMode = 'Crop' | 'Fit' | 'Stretch';

export interface CreateViewOptions {
  readonly scalingMode?: ScalingMode;
  /** Default: a local camera is mirrored, nothing else is. */
  readonly isMirrored?: boolean;
}

export interface VideoStreamRendererView {
  readonly target: HTMLVideoElement;
  readonly isMirrored: boolean;
  updateScalingMode(mode: ScalingMode): void;
  dispose(): void;
}

const OBJECT_FIT: Record<ScalingMode, string> = { Crop: 'cover', Fit: 'contain', Stretch: 'fill' };

export class VideoStreamRenderer {
  readonly #stream: LocalVideoStream | RemoteVideoStream;
  readonly #views = new Set<View>();
  #disposed = false;

  constructor(stream: LocalVideoStream | RemoteVideoStream) {
    this.#stream = stream;
  }

  /** A view to put into the page; for a local camera, resolves once it is open. */
  async createView(options: CreateViewOptions = {}): Promise<VideoStreamRendererView> {
    const stream = this.#stream;
    if (stream instanceof LocalVideoStream) await stream.getMediaStream();
    if (this.#disposed) throw new ConvokeError('disposed', 'The renderer was disposed.');
    const mirrored = stream instanceof LocalVideoStream && stream.mediaStreamType === 'Video';
    const view: View = new View(options.isMirrored ?? mirrored, options.scalingMode ?? 'Fit', () =>
      this.#views.delete(view),
    );
    this.#views.add(view);
    if (stream instanceof RemoteVideoStream) view.followRemote(stream);
    else view.followLocal(stream);
    return view;
  }

  dispose(): void {
    this.#disposed = true;
    for (const view of [...this.#views]) view.dispose();
  }
}

/** How often a view asks whether packets of its source have come. */
const CSRC_POLL_MS = 40;

class View implements VideoStreamRendererView {
  readonly target: HTMLVideoElement;
  readonly isMirrored: boolean;
  readonly #onDispose: () => void;
  #stopFollowing = (): void => undefined;
  #shown: Attachment | undefined;
  #poll: ReturnType<typeof setInterval> | undefined;

  constructor(isMirrored: boolean, scalingMode: ScalingMode, onDispose: () => void) {
    this.isMirrored = isMirrored;
    this.#onDispose = onDispose;
    this.target = document.createElement('video');
    this.target.autoplay = true;
    this.target.muted = true;
    this.target.playsInline = true;
    this.target.disablePictureInPicture = true;
    if (isMirrored) this.target.style.transform = 'scaleX(-1)';
    this.updateScalingMode(scalingMode);
  }

  updateScalingMode(mode: ScalingMode): void {
    this.target.style.objectFit = OBJECT_FIT[mode];
  }

  followLocal(stream: LocalVideoStream): void {
    const show = (media: MediaStream | undefined) => this.#play(media ?? null);
    stream.on('mediaStreamChanged', show);
    this.#stopFollowing = () => stream.off('mediaStreamChanged', show);
    show(stream.mediaStream);
  }

  followRemote(stream: RemoteVideoStream): void {
    const follow = (attachment: Attachment | undefined) => this.#attach(attachment);
    const resized = () => stream.reportSize(this.target.videoWidth, this.target.videoHeight);
    stream.on('attachmentChanged', follow);
    stream.reportBox(this, undefined);
    const stopWatching = watchBox(this.target, (box) => stream.reportBox(this, box));
    this.target.addEventListener('resize', resized);
    this.#stopFollowing = () => {
      stream.off('attachmentChanged', follow);
      this.target.removeEventListener('resize', resized);
      stopWatching();
      stream.removeView(this);
    };
    follow(stream.attachment);
  }

  dispose(): void {
    this.#stopFollowing();
    clearInterval(this.#poll);
    this.#play(null);
    this.target.remove();
    this.#onDispose();
  }

  #attach(attachment: Attachment | undefined): void {
    clearInterval(this.#poll);
    const old = this.#shown;
    this.#shown = attachment;
    if (attachment === undefined) {
      this.#play(null);
      return;
    }
    const sameSource = old?.trackId === attachment.trackId && old.mid === attachment.mid;
    if (!sameSource || old.receiver !== attachment.receiver) {
      this.#play(new MediaStream([attachment.receiver.track]));
      this.#setVisible(false);
    }
    if (attachment.flowing || sent(attachment)) this.#setVisible(true);
    else {
      this.#poll = setInterval(() => {
        if (!sent(attachment)) return;
        clearInterval(this.#poll);
        this.#setVisible(true);
      }, CSRC_POLL_MS);
    }
  }

  #play(media: MediaStream | null): void {
    if (media === null && this.target.srcObject === null) return;
    this.target.srcObject = media;
    // Muted video may always play; what is refused here is only that the source went away again.
    if (media !== null) this.target.play().catch(() => undefined);
  }

  #setVisible(visible: boolean): void {
    this.target.style.visibility = visible ? '' : 'hidden';
  }
}

/** Whether the newest packets in the slot are of this source. */
function sent(attachment: Attachment): boolean {
  return newestCsrc(attachment.receiver)?.source === attachment.csrc;
}
