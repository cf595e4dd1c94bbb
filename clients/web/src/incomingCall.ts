/**
 * A call that rings for us.
 *
 * Owns: what is known of it, and whether it still rings.
 * Never: joins by itself; `CallAgent` makes the call when it is accepted.
 */
import type { Call, CallEndReason, JoinCallOptions } from './call/call.js';
import { ConvokeError } from './errors.js';
import { Emitter } from './events.js';
import type { IncomingCall as Message } from './generated/protocol.js';
import type { CommunicationUserIdentifier } from './remote/remoteParticipant.js';

export interface IncomingCallEvents {
  /** It rings no more on this device, other than by our own accepting or rejecting. */
  callEnded: { readonly callEndReason: CallEndReason };
}

/** Who calls. */
export interface CallerInfo {
  readonly identifier: CommunicationUserIdentifier;
  readonly displayName: string;
}

/** @internal */
export interface IncomingCallLink {
  accept(call: IncomingCall, options: JoinCallOptions): Call;
  reject(call: IncomingCall, busy: boolean): Promise<void>;
}

export class IncomingCall extends Emitter<IncomingCallEvents> {
  readonly id: string;
  /** The group ID of the call. */
  readonly groupId: string;
  readonly callerInfo: CallerInfo;
  /** Of the calling app's own. */
  readonly customContext: string | undefined;
  readonly #link: IncomingCallLink;
  #rings = true;

  /** @internal */
  constructor(message: Message, link: IncomingCallLink) {
    super();
    this.id = message.incomingCallId;
    this.groupId = message.groupId;
    const communicationUserId = message.from;
    const identifier = { kind: 'communicationUser', communicationUserId } as const;
    this.callerInfo = { identifier, displayName: message.displayName };
    this.customContext = message.customContext;
    this.#link = link;
  }

  /** Whether it can still be accepted, as far as is known here. */
  get isRinging(): boolean {
    return this.#rings;
  }

  /** Joins the call; a call in which the agent is must be left first. */
  accept(options: JoinCallOptions = {}): Call {
    if (!this.#rings) {
      throw new ConvokeError('incomingCallNotFound', 'This call does not ring any more.');
    }
    this.#rings = false;
    return this.#link.accept(this, options);
  }

  /** Declines on all our devices; with `busy` on this one only. */
  async reject(options: { readonly busy?: boolean } = {}): Promise<void> {
    if (!this.#rings) return;
    this.#rings = false;
    await this.#link.reject(this, options.busy ?? false);
  }

  /** @internal */
  end(callEndReason: CallEndReason): void {
    this.#rings = false;
    this.emit('callEnded', { callEndReason });
  }
}
