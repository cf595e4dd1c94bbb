/**
 * How fast a browser begins to send pictures.
 *
 * Owns: the parameter that Chromium and Safari take from an answer; others ignore it.
 * Never: limits anything; congestion control goes up and down from there as it sees fit.
 */

/**
 * Browsers begin with 300 kbit/s and then wait for feedback on what they send. A track that nobody
 * watched at first sends little, so that its larger encodings would come many seconds late.
 */
const START_KBPS = 1_000;

const CODEC = /^a=rtpmap:(\d+) (?:VP8|VP9|H264|AV1)\//i;

/** The answer with a start bitrate for each video codec. */
export function withStartBitrate(sdp: string): string {
  const [session = '', ...media] = sdp.split(/^(?=m=)/m);
  return (
    session + media.map((section) => (/^m=video/.test(section) ? begin(section) : section)).join('')
  );
}

function begin(section: string): string {
  const parameter = `x-google-start-bitrate=${START_KBPS}`;
  const lines = section.split('\r\n');
  const payloads = lines.flatMap((line) => CODEC.exec(line)?.[1] ?? []);
  for (const payload of payloads) {
    const fmtp = lines.findIndex((line) => line.startsWith(`a=fmtp:${payload} `));
    if (fmtp >= 0) lines[fmtp] += `;${parameter}`;
    else {
      const rtpmap = lines.findIndex((line) => line.startsWith(`a=rtpmap:${payload} `));
      lines.splice(rtpmap + 1, 0, `a=fmtp:${payload} ${parameter}`);
    }
  }
  return lines.join('\r\n');
}
