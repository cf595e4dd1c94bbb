/** Peer connections without a network: offers are text, states are set by tests. */

export class FakeSender {
  track: MediaStreamTrack | null = null;
  parameters: { encodings: RTCRtpEncodingParameters[] };
  /** Thrown by `setParameters` for what it returns true for. */
  refuse = (_parameters: { encodings: RTCRtpEncodingParameters[] }): boolean => false;
  parametersSet = 0;
  readonly history: (MediaStreamTrack | null)[] = [];

  constructor(encodings: readonly RTCRtpEncodingParameters[] = [{}]) {
    this.parameters = { encodings: structuredClone([...encodings]) };
  }

  async replaceTrack(track: MediaStreamTrack | null): Promise<void> {
    this.track = track;
    this.history.push(track);
  }

  getParameters() {
    return structuredClone(this.parameters);
  }

  async setParameters(parameters: typeof this.parameters): Promise<void> {
    this.parametersSet += 1;
    if (this.refuse(parameters)) throw new Error('refused');
    this.parameters = parameters;
  }

  async getStats() {
    return new Map();
  }
}

export class FakeReceiver {
  readonly track: { kind: string };
  sources: RTCRtpContributingSource[] = [];

  constructor(kind: string) {
    this.track = { kind };
  }

  getContributingSources() {
    return this.sources;
  }

  /** When the last packet was played, by the browser's clock. */
  played = 0;

  getSynchronizationSources() {
    return this.played === 0 ? [] : [{ timestamp: this.played }];
  }
}

interface FakeTransceiver {
  mid: string | null;
  kind: string;
  direction: string;
  sender: FakeSender;
  receiver: FakeReceiver;
  setCodecPreferences(): void;
}

export class FakeDataChannel {
  readyState: RTCDataChannelState = 'connecting';
  binaryType = '';
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onclose: (() => void) | null = null;
  readonly sent: Uint8Array[] = [];
  readonly label: string;
  readonly init: RTCDataChannelInit;

  constructor(label: string, init: RTCDataChannelInit) {
    this.label = label;
    this.init = init;
  }

  send(frame: Uint8Array): void {
    if (this.readyState !== 'open') throw new Error('not open');
    this.sent.push(frame);
    this.bufferedAmount += frame.length;
  }

  close(): void {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    this.onclose?.();
  }

  /** The network has taken all. */
  drain(): void {
    this.bufferedAmount = 0;
    this.onbufferedamountlow?.();
  }
}

let connections = 0;

export class FakePeerConnection extends EventTarget {
  connectionState: RTCPeerConnectionState = 'new';
  signalingState: RTCSignalingState = 'stable';
  localDescription: { sdp: string } | null = null;
  readonly remote: string[] = [];
  /** The one that it was made with, and those after. */
  readonly configurations: RTCConfiguration[] = [];
  readonly transceivers: FakeTransceiver[] = [];
  readonly channels: FakeDataChannel[] = [];
  readonly name: string;
  restarts = 0;

  constructor(configuration: RTCConfiguration = {}) {
    super();
    this.configurations.push(structuredClone(configuration));
    connections += 1;
    this.name = `pc${connections}`;
  }

  addTransceiver(
    kind: string,
    init: { direction: string; sendEncodings?: RTCRtpEncodingParameters[] },
  ): FakeTransceiver {
    const transceiver = {
      mid: null,
      kind,
      direction: init.direction,
      sender: new FakeSender(init.sendEncodings),
      receiver: new FakeReceiver(kind),
      setCodecPreferences: () => undefined,
    };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  createDataChannel(label: string, init: RTCDataChannelInit): FakeDataChannel {
    const channel = new FakeDataChannel(label, init);
    this.channels.push(channel);
    return channel;
  }

  getTransceivers(): FakeTransceiver[] {
    return this.transceivers;
  }

  getReceivers(): FakeReceiver[] {
    return this.transceivers.map((transceiver) => transceiver.receiver);
  }

  setConfiguration(configuration: RTCConfiguration): void {
    this.configurations.push(structuredClone(configuration));
  }

  async createOffer(options?: { iceRestart?: boolean }) {
    if (options?.iceRestart) this.restarts += 1;
    return { type: 'offer', sdp: `${this.name}-offer-${this.restarts}` };
  }

  async setLocalDescription(description: { sdp: string }): Promise<void> {
    this.localDescription = description;
    for (const [index, transceiver] of this.transceivers.entries()) transceiver.mid = String(index);
  }

  async setRemoteDescription(description: { sdp: string }): Promise<void> {
    this.remote.push(description.sdp);
    if (this.connectionState === 'new') this.become('connected');
  }

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  close(): void {
    this.connectionState = 'closed';
    this.signalingState = 'closed';
  }

  /** Bytes that came in, and media packets that went out; until there are some nothing is told. */
  readonly traffic = { received: 0, sent: 0 };

  async getStats() {
    if (this.traffic.received === 0) return new Map<string, object>();
    return new Map<string, object>([
      ['T', { type: 'transport', id: 'T', selectedCandidatePairId: 'P' }],
      ['P', { type: 'candidate-pair', id: 'P', bytesReceived: this.traffic.received }],
      ['O', { type: 'outbound-rtp', id: 'O', packetsSent: this.traffic.sent }],
    ]);
  }
}
