/**
 * The peer connection that receives: its m-lines are the slots, offered once.
 *
 * Owns: its transceivers and the lookup from `a=mid` to receiver.
 * Never: knows which track a slot carries; that is the slot table's.
 */
import { askForDependencyDescriptor } from './headerExtensions.js';

/** Codecs that serve no purpose in slots and only lengthen the offer. */
const UNUSED = /\/(red|ulpfec|flexfec-03)$/i;

export class ReceiveTransport {
  readonly pc: RTCPeerConnection;

  constructor(pc: RTCPeerConnection, audioSlots: number, videoSlots: number) {
    this.pc = pc;
    for (let index = 0; index < audioSlots; index += 1) {
      pc.addTransceiver('audio', { direction: 'recvonly' });
    }
    const codecs = videoCodecs();
    for (let index = 0; index < videoSlots; index += 1) {
      const transceiver = pc.addTransceiver('video', { direction: 'recvonly' });
      if (codecs.length > 0) transceiver.setCodecPreferences(codecs);
      askForDependencyDescriptor(transceiver);
    }
  }

  /** The receiver of a slot; undefined for a mid that was not offered. */
  receiver(mid: string): RTCRtpReceiver | undefined {
    return this.pc.getTransceivers().find((transceiver) => transceiver.mid === mid)?.receiver;
  }

  /** The slot of a receiver. */
  mid(receiver: RTCRtpReceiver): string | undefined {
    const found = this.pc.getTransceivers().find((candidate) => candidate.receiver === receiver);
    return found?.mid ?? undefined;
  }

  close(): void {
    this.pc.close();
  }
}

function videoCodecs(): RTCRtpCodec[] {
  if (typeof RTCRtpReceiver === 'undefined') return [];
  const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  return codecs.filter((codec) => !UNUSED.test(codec.mimeType));
}

/**
 * Who fed a receiver last: the newest CSRC (RFC 3550 §5.1). Browsers keep old ones for ten seconds,
 * newest first.
 */
export function newestCsrc(receiver: RTCRtpReceiver): RTCRtpContributingSource | undefined {
  let newest: RTCRtpContributingSource | undefined;
  for (const source of receiver.getContributingSources()) {
    if (newest === undefined || source.timestamp > newest.timestamp) newest = source;
  }
  return newest;
}
