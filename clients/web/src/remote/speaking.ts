/**
 * Who speaks now, from the levels that packets carry (RFC 6464) in audio slots.
 *
 * Owns: polling of the receivers, and the hysteresis that keeps rings from flickering.
 * Never: ranks speakers; the server chooses who gets a slot.
 */
import type { Slot } from '../generated/protocol.js';
import { newestCsrc } from '../media/receiveTransport.js';

/** A level is linear, 0 to 1 (W3C WebRTC, `audioLevel`). */
export interface SpeakingRules {
  readonly startLevel: number;
  readonly keepLevel: number;
  /** How long silence may last before speaking ends. */
  readonly holdMs: number;
}

export const SPEAKING_RULES: SpeakingRules = { startLevel: 0.02, keepLevel: 0.008, holdMs: 600 };

/** Pure: levels in, changes out. */
export class SpeakingTracker {
  readonly #rules: SpeakingRules;
  /** When each speaker was last loud enough. */
  readonly #heard = new Map<string, number>();

  constructor(rules: SpeakingRules = SPEAKING_RULES) {
    this.#rules = rules;
  }

  /** Returns who began (true) and who ended (false) to speak. */
  update(nowMs: number, levels: ReadonlyMap<string, number>): Map<string, boolean> {
    const { startLevel, keepLevel, holdMs } = this.#rules;
    const changes = new Map<string, boolean>();
    for (const [id, level] of levels) {
      const speaking = this.#heard.has(id);
      if (level >= (speaking ? keepLevel : startLevel)) {
        this.#heard.set(id, nowMs);
        if (!speaking) changes.set(id, true);
      }
    }
    for (const [id, heardMs] of this.#heard) {
      if (nowMs - heardMs <= holdMs) continue;
      this.#heard.delete(id);
      changes.set(id, false);
    }
    return changes;
  }
}

/** What the levels of one slot's receiver say. */
export interface SlotLevel {
  readonly csrc: number | undefined;
  readonly level: number;
}

/** Reads receivers; remembers timestamps, since browsers keep sources for ten seconds. */
export class LevelReader {
  readonly #seen = new Map<string, number>();

  /** The level since the last reading; undefined if no packet came or none carried a level. */
  read(mid: string, receiver: RTCRtpReceiver): SlotLevel | undefined {
    const csrc = newestCsrc(receiver);
    const source = csrc ?? receiver.getSynchronizationSources()[0];
    if (source === undefined || this.#seen.get(mid) === source.timestamp) return undefined;
    this.#seen.set(mid, source.timestamp);
    if (source.audioLevel === undefined) return undefined;
    return { csrc: csrc?.source, level: source.audioLevel };
  }
}

/** @internal What the monitor needs from its call. */
export interface SpeakingInput {
  audioSlots(): readonly Slot[];
  receiver(mid: string): RTCRtpReceiver | undefined;
  participantOfCsrc(csrc: number): string | undefined;
  /** The level of our own microphone, if it is on. */
  ownLevel(): Promise<number | undefined>;
}

/** Our own id among the speakers. */
export const SELF = 'self';

const POLL_MS = 150;

export class SpeakingMonitor {
  readonly #input: SpeakingInput;
  readonly #onChange: (id: string, speaking: boolean) => void;
  readonly #tracker = new SpeakingTracker();
  readonly #reader = new LevelReader();
  #timer: ReturnType<typeof setInterval> | undefined;
  #own: number | undefined;
  #reading = false;

  constructor(input: SpeakingInput, onChange: (id: string, speaking: boolean) => void) {
    this.#input = input;
    this.#onChange = onChange;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#poll(), POLL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #poll(): void {
    const levels = new Map<string, number>();
    for (const slot of this.#input.audioSlots()) {
      const receiver = this.#input.receiver(slot.mid);
      const heard = receiver === undefined ? undefined : this.#reader.read(slot.mid, receiver);
      if (heard === undefined) continue;
      const byCsrc =
        heard.csrc === undefined ? undefined : this.#input.participantOfCsrc(heard.csrc);
      const id = byCsrc ?? slot.participantId;
      if (id !== undefined) levels.set(id, Math.max(levels.get(id) ?? 0, heard.level));
    }
    this.#readOwn();
    if (this.#own !== undefined) levels.set(SELF, this.#own);
    for (const [id, speaking] of this.#tracker.update(performance.now(), levels)) {
      this.#onChange(id, speaking);
    }
  }

  #readOwn(): void {
    if (this.#reading) return;
    this.#reading = true;
    this.#input
      .ownLevel()
      .then((level) => {
        this.#own = level;
      })
      .catch(() => undefined)
      .finally(() => {
        this.#reading = false;
      });
  }
}
