import { describe, expect, it } from 'vitest';
import { preferInAnswer } from '../src/media/codecOrder.js';

const section = (mid: string) =>
  [
    'm=video 5000 UDP/TLS/RTP/SAVPF 96 97 98 99 45',
    `a=mid:${mid}`,
    'a=rtpmap:96 VP8/90000',
    'a=rtpmap:97 rtx/90000',
    'a=rtpmap:98 VP9/90000',
    'a=rtpmap:99 rtx/90000',
    'a=rtpmap:45 AV1/90000',
    '',
  ].join('\r\n');
const sdp = `v=0\r\ns=-\r\n${section('1')}${section('2')}`;

describe('the answer', () => {
  it('has the preferred codec first where one is, and is the same otherwise', () => {
    const lines = preferInAnswer(sdp, new Map([['2', 'VP9' as const]])).split('\r\n');
    expect(lines.filter((line) => line.startsWith('m='))).toEqual([
      'm=video 5000 UDP/TLS/RTP/SAVPF 96 97 98 99 45',
      'm=video 5000 UDP/TLS/RTP/SAVPF 98 96 97 99 45',
    ]);
    expect(lines.length).toBe(sdp.split('\r\n').length);
  });

  it.each(['H264', 'VP8'] as const)('is left alone for %s', (codec) => {
    expect(preferInAnswer(sdp, new Map([['1', codec]]))).toBe(sdp);
  });
});
