/**
 * Keeps the parameters of one sender as they should be: sizes, bitrates, what is sent at all.
 *
 * Owns: `setParameters` of its sender; one call at a time, later wishes joined into one.
 * Never: rejects. What a browser refuses is only tuning, and a sender may be gone at any time.
 */
import type { EncodingDemand } from '../generated/protocol.js';
import type { PlannedEncoding } from './encodings.js';

export type DegradationPreference = NonNullable<RTCRtpSendParameters['degradationPreference']>;
/** Not in TypeScript's DOM types. */
type TunedEncoding = RTCRtpEncodingParameters & { scalabilityMode?: string };
export type TunedParameters = Omit<RTCRtpSendParameters, 'encodings'> & {
  degradationPreference?: DegradationPreference;
  encodings: TunedEncoding[];
};

export class SenderTuner {
  readonly #sender: RTCRtpSender;
  readonly #degradation: DegradationPreference;
  #plan: readonly PlannedEncoding[] | undefined;
  #demand: readonly EncodingDemand[] | undefined;
  #dirty = false;
  #running: Promise<void> | undefined;

  constructor(sender: RTCRtpSender, degradation: DegradationPreference) {
    this.#sender = sender;
    this.#degradation = degradation;
  }

  /** What the track is worth. */
  plan(plan: readonly PlannedEncoding[]): Promise<void> {
    this.#plan = plan;
    return this.apply();
  }

  /** What anybody wants of it; undefined: all. */
  demand(demand: readonly EncodingDemand[] | undefined): Promise<void> {
    this.#demand = demand;
    return this.apply();
  }

  /** Brings the sender up to date; also after a negotiation, which may have changed it. */
  apply(): Promise<void> {
    this.#dirty = true;
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    // Lets `apply` note this run, and lets wishes of the same moment join it.
    await Promise.resolve();
    while (this.#dirty) {
      this.#dirty = false;
      await this.#set(true).catch(() => undefined);
    }
    this.#running = undefined;
  }

  async #set(layers: boolean): Promise<void> {
    const plan = this.#plan;
    if (plan === undefined) return;
    const parameters: TunedParameters = this.#sender.getParameters();
    const before = JSON.stringify(parameters);
    tune(parameters, plan, this.#demand);
    parameters.degradationPreference = this.#degradation;
    if (!layers) for (const encoding of parameters.encodings) delete encoding.scalabilityMode;
    if (JSON.stringify(parameters) === before) return;
    try {
      await this.#sender.setParameters(parameters);
    } catch (error) {
      // The codec that was negotiated may not have the layers that were asked for.
      const scalable = parameters.encodings.some((e) => e.scalabilityMode !== undefined);
      if (!layers || !scalable) throw error;
      await this.#set(false);
    }
  }
}

/** Pure but for `parameters`, which the browser wants back as the same object. */
export function tune(
  parameters: TunedParameters,
  plan: readonly PlannedEncoding[],
  demand: readonly EncodingDemand[] | undefined,
): void {
  const { encodings } = parameters;
  for (const encoding of encodings) {
    // A server that does not take simulcast leaves one encoding, which then has to serve everyone.
    const alone = encodings.length === 1;
    const planned = alone ? plan.at(-1) : plan.find(({ rid }) => rid === encoding.rid);
    encoding.active = planned !== undefined && (alone ? anyWanted : wanted)(demand, planned.rid);
    if (planned === undefined) continue;
    encoding.scaleResolutionDownBy = alone ? 1 : planned.scaleResolutionDownBy;
    encoding.maxBitrate = planned.maxBitrate;
    if (planned.maxFramerate !== undefined) encoding.maxFramerate = planned.maxFramerate;
  }
}

function wanted(demand: readonly EncodingDemand[] | undefined, rid: string | undefined): boolean {
  // What the server does not name is not known to it, so nobody can be shown it.
  return demand === undefined || demand.some((d) => d.rid === rid && d.active);
}

function anyWanted(demand: readonly EncodingDemand[] | undefined): boolean {
  return demand === undefined || demand.some((d) => d.active);
}
