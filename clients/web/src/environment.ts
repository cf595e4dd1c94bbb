/**
 * What the SDK needs from the browser, in one replaceable place.
 *
 * Owns: construction of sockets and peer connections, randomness, network events.
 * Never: decides anything; tests hand in their own.
 */
import { SUBPROTOCOL } from './generated/protocol.js';

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  readonly readyState: number;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  onerror: ((event: Event) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

/** Replaceable parts of the browser. */
export interface Environment {
  createSocket(url: string): SocketLike;
  createPeerConnection(configuration: RTCConfiguration): RTCPeerConnection;
  /** Undefined where the page is not a secure context. */
  mediaDevices(): MediaDevices | undefined;
  /** Uniform in [0, 1). */
  random(): number;
  /** Calls back when the network came back or changed; returns the undo. */
  onNetworkChange(listener: () => void): () => void;
}

interface NetworkInformation extends EventTarget {
  readonly type?: string;
}

/** The browser itself. */
export const BROWSER: Environment = {
  createSocket: (url) => new WebSocket(url, SUBPROTOCOL),
  createPeerConnection: (configuration) => new RTCPeerConnection(configuration),
  mediaDevices: () => navigator.mediaDevices as MediaDevices | undefined,
  random: () => Math.random(),
  onNetworkChange(listener) {
    const network = (navigator as { connection?: NetworkInformation }).connection;
    let type = network?.type;
    // `change` also fires for mere estimates of speed; only another kind of network counts.
    const changed = () => {
      if (network?.type === type) return;
      type = network?.type;
      listener();
    };
    window.addEventListener('online', listener);
    network?.addEventListener('change', changed);
    return () => {
      window.removeEventListener('online', listener);
      network?.removeEventListener('change', changed);
    };
  },
};
