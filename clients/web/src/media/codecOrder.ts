/**
 * Which codec a sender uses: the first one in the answer, whatever the offer preferred.
 *
 * Owns: the order of codecs in offers and answers.
 * Never: adds a codec.
 */
import type { VideoCodec } from './encodings.js';

/** Offers a codec before the others; what follows it serves where the server lacks it. */
export function preferInOffer(transceiver: RTCRtpTransceiver, codec: VideoCodec): void {
  if (typeof RTCRtpSender === 'undefined') return;
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const wanted = (candidate: RTCRtpCodec) =>
    candidate.mimeType.toLowerCase() === `video/${codec.toLowerCase()}`;
  const preferred = codecs.filter(wanted);
  if (preferred.length === 0) return;
  transceiver.setCodecPreferences([...preferred, ...codecs.filter((other) => !wanted(other))]);
}

/** Offers no RED (RFC 2198): it holds several frames, and is taken apart on the way. */
export function withoutRedundancy(transceiver: RTCRtpTransceiver): void {
  if (typeof RTCRtpSender === 'undefined') return;
  const codecs = RTCRtpSender.getCapabilities('audio')?.codecs ?? [];
  const plain = codecs.filter(({ mimeType }) => mimeType.toLowerCase() !== 'audio/red');
  if (plain.length > 0) transceiver.setCodecPreferences(plain);
}

/** The answer with the preferred codec first in each of the m-lines named by `a=mid`. */
export function preferInAnswer(sdp: string, codecs: ReadonlyMap<string, VideoCodec>): string {
  const [session = '', ...media] = sdp.split(/^(?=m=)/m);
  return session + media.map((section) => ordered(section, codecs)).join('');
}

function ordered(section: string, codecs: ReadonlyMap<string, VideoCodec>): string {
  const codec = codecs.get(/^a=mid:(\S+)/m.exec(section)?.[1] ?? '');
  if (codec === undefined) return section;
  const payloads = new Set(
    [...section.matchAll(/^a=rtpmap:(\d+) ([^/\s]+)\//gm)]
      .filter(([, , name]) => name?.toLowerCase() === codec.toLowerCase())
      .map(([, payload]) => payload),
  );
  return section.replace(/^(m=\S+ \S+ \S+) (.+?)(\r?)$/m, (_, head, list: string, end) => {
    const all = list.split(' ');
    const first = all.filter((payload) => payloads.has(payload));
    return `${head} ${[...first, ...all.filter((payload) => !payloads.has(payload))].join(' ')}${end}`;
  });
}
