/**
 * RTP header extensions that are not in a browser's offer by itself.
 *
 * Owns: which are asked for, where the browser lets a page ask (W3C WebRTC Extensions).
 * Never: fails; without them the server reads what it can from payloads.
 */

/** <https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension> */
export const DEPENDENCY_DESCRIPTOR =
  'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';

interface HeaderExtension {
  readonly uri: string;
  direction: RTCRtpTransceiverDirection;
}

/** Not in TypeScript's DOM types; Chromium has it. */
interface Negotiating {
  getHeaderExtensionsToNegotiate?(): HeaderExtension[];
  setHeaderExtensionsToNegotiate?(extensions: HeaderExtension[]): void;
}

/** Asks for the dependency descriptor on a video m-line; call before the offer. */
export function askForDependencyDescriptor(transceiver: RTCRtpTransceiver): void {
  const negotiating = transceiver as Negotiating;
  const extensions = negotiating.getHeaderExtensionsToNegotiate?.();
  const descriptor = extensions?.find(({ uri }) => uri === DEPENDENCY_DESCRIPTOR);
  if (extensions === undefined || descriptor === undefined) return;
  descriptor.direction = 'sendrecv';
  try {
    negotiating.setHeaderExtensionsToNegotiate?.(extensions);
  } catch {
    // An older browser that lists it without letting it be changed.
  }
}
