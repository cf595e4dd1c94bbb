/**
 * Errors of the SDK.
 *
 * Owns: `ConvokeError`, its codes, and how browser exceptions map onto them.
 * Never: shows anything to a person; apps choose their own words by `code`.
 */
import type { EndReason, ErrorCode, ErrorReply } from './generated/protocol.js';

/** Codes that the SDK itself gives; the rest come from the server. */
export type ClientErrorCode =
  | 'connectionFailed'
  | 'connectionLost'
  | 'requestTimeout'
  | 'notConnected'
  | 'disposed'
  | 'callEnded'
  | 'messageTooBig'
  | 'takenOver'
  | 'notSupported'
  | 'microphoneDenied'
  | 'microphoneNotFound'
  | 'microphoneFailed'
  | 'cameraDenied'
  | 'cameraNotFound'
  | 'cameraFailed'
  | 'screenDenied'
  | 'screenNotFound'
  | 'screenFailed'
  | 'speakerFailed'
  | 'dataTooBig'
  | 'dataQueueFull';

/** Every code that a `ConvokeError` may carry. */
export type ConvokeErrorCode = ErrorCode | ClientErrorCode;

/** What went wrong, stable in `code`. */
export class ConvokeError extends Error {
  readonly code: ConvokeErrorCode;
  /** The field at fault, where the server named one (`tracks[0].mid`). */
  readonly field: string | undefined;
  /** How long to wait before trying again, where trying again helps. */
  readonly retryAfterMs: number | undefined;
  /** The ACS code and sub-code, where ACS has them for this. */
  readonly reason: EndReason | undefined;

  constructor(
    code: ConvokeErrorCode,
    message: string,
    details: {
      field?: string | undefined;
      retryAfterMs?: number | undefined;
      reason?: EndReason | undefined;
    } = {},
  ) {
    super(message);
    this.name = 'ConvokeError';
    this.code = code;
    this.field = details.field;
    this.retryAfterMs = details.retryAfterMs;
    this.reason = details.reason;
  }

  /** @internal */
  static fromReply(reply: ErrorReply): ConvokeError {
    return new ConvokeError(reply.code, reply.message, reply);
  }

  /** @internal */
  static from(error: unknown): ConvokeError {
    if (error instanceof ConvokeError) return error;
    return new ConvokeError('internal', error instanceof Error ? error.message : String(error));
  }
}

/** What a capture was for. */
export type CaptureKind = 'microphone' | 'camera' | 'screen';

const DENIED = new Set(['NotAllowedError', 'SecurityError', 'PermissionDeniedError']);
const NOT_FOUND = new Set(['NotFoundError', 'OverconstrainedError', 'DevicesNotFoundError']);

/** Maps what `getUserMedia` and `getDisplayMedia` throw (W3C Media Capture §10.2). */
export function captureError(kind: CaptureKind, error: unknown): ConvokeError {
  if (error instanceof ConvokeError) return error;
  const name = error instanceof Error ? error.name : '';
  const outcome = DENIED.has(name) ? 'Denied' : NOT_FOUND.has(name) ? 'NotFound' : 'Failed';
  const detail = error instanceof Error ? error.message : String(error);
  return new ConvokeError(`${kind}${outcome}`, `The ${kind} could not be opened: ${detail}`);
}

/** The SIP-like status of each refusal, for `callEndReason.code`; others are 400. */
const STATUS: Partial<Record<ConvokeErrorCode, number>> = {
  notAuthenticated: 401,
  tokenMissing: 401,
  tokenInvalid: 401,
  tokenExpired: 401,
  tokenNotYetValid: 401,
  tokenRevoked: 401,
  tokenWrongCall: 403,
  scopeMissing: 403,
  notAllowed: 403,
  removedFromCall: 403,
  incomingCallNotFound: 404,
  roomNotInvited: 403,
  roomExpired: 403,
  roomNotOpen: 403,
  callNotFound: 404,
  roomNotFound: 404,
  connectionFailed: 408,
  connectionLost: 408,
  requestTimeout: 408,
  alreadyJoined: 409,
  messageTooBig: 413,
  limitExceeded: 486,
  takenOver: 487,
  disposed: 487,
  internal: 500,
  busy: 503,
  draining: 503,
};

/** How a call that an error ended says so. */
export function endReasonOf(error: ConvokeError): EndReason {
  if (error.reason !== undefined) return error.reason;
  return { code: STATUS[error.code] ?? 400, subCode: 0, message: error.message };
}
