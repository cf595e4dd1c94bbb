import { describe, expect, it } from 'vitest';
import { preferInAnswer } from '../src/media/codecOrder.js';
import { withStartBitrate } from '../src/media/startBitrate.js';

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

describe('the start bitrate', () => {
  it('is said of every video codec, beside its other parameters', () => {
    const answer = `${sdp.replaceAll('a=rtpmap:45', 'a=fmtp:45 profile=0\r\na=rtpmap:45')}m=audio 9\r\n`;
    const lines = withStartBitrate(answer).split('\r\n');
    expect(lines.filter((line) => line.startsWith('a=fmtp:45'))).toEqual([
      'a=fmtp:45 profile=0;x-google-start-bitrate=1000',
      'a=fmtp:45 profile=0;x-google-start-bitrate=1000',
    ]);
    expect(lines).toContain('a=fmtp:96 x-google-start-bitrate=1000');
    expect(lines.some((line) => line.startsWith('a=fmtp:97'))).toBe(false);
    expect(lines.indexOf('a=fmtp:98 x-google-start-bitrate=1000')).toBe(
      lines.indexOf('a=rtpmap:98 VP9/90000') + 1,
    );
  });
});
