/** Devices and tracks without hardware. */

export class FakeTrack extends EventTarget {
  enabled = true;
  readyState = 'live';
  contentHint = '';
  readonly kind: string;

  constructor(kind: string) {
    super();
    this.kind = kind;
  }

  getSettings() {
    return { width: 640, height: 360 };
  }

  stop(): void {
    this.readyState = 'ended';
  }

  /** The device is unplugged. */
  unplug(): void {
    this.readyState = 'ended';
    this.dispatchEvent(new Event('ended'));
  }
}

export class FakeStream {
  readonly #tracks: FakeTrack[];

  constructor(tracks: FakeTrack[]) {
    this.#tracks = tracks;
  }

  getTracks() {
    return this.#tracks;
  }

  getVideoTracks() {
    return this.#tracks.filter((track) => track.kind === 'video');
  }

  getAudioTracks() {
    return this.#tracks.filter((track) => track.kind === 'audio');
  }
}

export class FakeMediaDevices extends EventTarget {
  /** Thrown by the next calls, by kind. */
  fail: { audio?: string; video?: string } = {};
  readonly opened: FakeTrack[] = [];
  list: { kind: string; deviceId: string; label: string }[] = [];

  async getUserMedia(constraints: MediaStreamConstraints): Promise<FakeStream> {
    const kinds = (['audio', 'video'] as const).filter((kind) => constraints[kind]);
    for (const kind of kinds) {
      const name = this.fail[kind];
      if (name !== undefined) throw Object.assign(new Error(name), { name });
    }
    return this.#stream(kinds);
  }

  async getDisplayMedia(): Promise<FakeStream> {
    return this.#stream(['video', 'audio']);
  }

  async enumerateDevices() {
    return this.list;
  }

  #stream(kinds: readonly string[]): FakeStream {
    const tracks = kinds.map((kind) => new FakeTrack(kind));
    this.opened.push(...tracks);
    return new FakeStream(tracks);
  }
}
