/**
 * Keeps one peer connection alive by ICE restarts (RFC 8445 §9), offered by this side only.
 *
 * Owns: when to restart; at most one offer in flight, later wishes joined into one. The offer is made while
 * signalling is away, and goes out by the first socket that is there.
 * Never: gives up by itself; the server ends a participant whose media stays away.
 */
import type { TransportRole } from '../generated/protocol.js';

/** When to do what, in milliseconds. */
export interface KeeperTimings {
  /** How long `disconnected` may last; ICE often recovers by itself. */
  readonly patienceMs: number;
  /** How long a restart may take before the next one. */
  readonly restartMs: number;
  /** So long an offer that nobody answered is as good as a new one: its candidates are of this network. */
  readonly freshMs: number;
}

export const DEFAULT_KEEPER: KeeperTimings = {
  patienceMs: 3_000,
  restartMs: 8_000,
  freshMs: 1_000,
};

/** What the keeper needs from its call. */
export interface KeeperLink {
  /** Carries an offer to the server; resolves to the answer's SDP. */
  exchange(role: TransportRole, sdp: string): Promise<string>;
  /** Whether `exchange` can work now. */
  ready(): boolean;
  onStateChange(): void;
  /** An answer was taken. */
  onNegotiated(role: TransportRole): void;
}

export class TransportKeeper {
  readonly pc: RTCPeerConnection;
  readonly role: TransportRole;
  readonly #link: KeeperLink;
  readonly #timings: KeeperTimings;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #inFlight = false;
  #wanted = false;
  /** An offer that was not answered, and when it was made. */
  #offered: { readonly atMs: number; readonly made: Promise<string> } | undefined;
  #closed = false;

  constructor(
    role: TransportRole,
    pc: RTCPeerConnection,
    link: KeeperLink,
    timings: KeeperTimings,
  ) {
    this.role = role;
    this.pc = pc;
    this.#link = link;
    this.#timings = timings;
    pc.addEventListener('connectionstatechange', this.#onState);
  }

  get healthy(): boolean {
    return this.pc.connectionState === 'connected';
  }

  /** Restarts as soon as signalling allows. */
  restart(): void {
    if (this.#closed) return;
    this.#wanted = true;
    if (!this.#inFlight) this.#offered = undefined;
    void this.#run();
  }

  /** Signalling is back: do what had to wait, and restart what broke meanwhile. */
  signallingRestored(): void {
    if (this.#inFlight || this.#closed) return;
    this.#wanted ||= !this.healthy;
    if (this.#wanted) void this.#run();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.pc.removeEventListener('connectionstatechange', this.#onState);
  }

  readonly #onState = (): void => {
    clearTimeout(this.#timer);
    const state = this.pc.connectionState;
    if (state === 'failed') this.restart();
    if (state === 'disconnected') {
      this.#timer = setTimeout(() => this.restart(), this.#timings.patienceMs);
    }
    this.#link.onStateChange();
  };

  async #run(): Promise<void> {
    if (this.#inFlight) return;
    if (!this.#link.ready()) {
      this.#offer().catch(() => undefined);
      return;
    }
    this.#inFlight = true;
    this.#wanted = false;
    clearTimeout(this.#timer);
    try {
      const sdp = await this.#link.exchange(this.role, await this.#offer());
      this.#offered = undefined;
      if (!this.#closed) await this.pc.setRemoteDescription({ type: 'answer', sdp });
      this.#link.onNegotiated(this.role);
    } catch {
      // Signalling was lost, and its return tries again; or the answer is of no use, and the timer does.
      this.#wanted ||= !this.#link.ready();
      if (!this.#wanted) this.#offered = undefined;
    }
    this.#inFlight = false;
    if (this.#closed) return;
    if (this.#wanted) {
      void this.#run();
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!this.healthy) this.restart();
    }, this.#timings.restartMs);
  }

  /**
   * An offer with new credentials. One that was just made is given again: if the server took it, and its
   * answer was lost, it gives the same answer.
   */
  #offer(): Promise<string> {
    const { freshMs } = this.#timings;
    if (this.#offered === undefined || Date.now() - this.#offered.atMs >= freshMs) {
      this.#offered = { atMs: Date.now(), made: this.#make() };
    }
    return this.#offered.made;
  }

  async #make(): Promise<string> {
    const offer = await this.pc.createOffer({ iceRestart: true });
    await this.pc.setLocalDescription(offer);
    return this.pc.localDescription?.sdp ?? '';
  }
}
