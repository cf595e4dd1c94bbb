/**
 * Data messages as they go over the WebSocket.
 *
 * Owns: the types that the generated ones do not have yet.
 * Never: holds code.
 */

export type Reliability = 'durable' | 'lossy';

export interface SendData {
  readonly type: 'data';
  readonly requestId?: number;
  readonly callId: string;
  /** Absent: everyone else. */
  readonly to?: readonly string[];
  readonly reliability: Reliability;
  readonly topic?: string;
  /** Base64. */
  readonly payload: string;
}

export interface Data {
  readonly type: 'data';
  readonly callId: string;
  readonly from: string;
  readonly reliability: Reliability;
  readonly topic?: string;
  readonly payload: string;
}

export interface DataClosed {
  readonly type: 'dataClosed';
  readonly callId: string;
  readonly reliability: Reliability;
  readonly reason: string;
  readonly retryAfterMs?: number;
}
