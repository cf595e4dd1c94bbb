// https://www.npmjs.com/package/node-datachannel, of libdatachannel
import ndc from 'node-datachannel';

import { KINDS, run, session } from './sessions.mjs';

/** An RTP packet (RFC 3550) without header extensions, with another SSRC and payload type. */
function rewritten(packet, ssrc, payloadType) {
  let payload = 12 + 4 * (packet[0] & 0x0f);
  if (packet[0] & 0x10) payload += 4 + 4 * packet.readUInt16BE(payload + 2);
  const made = Buffer.concat([packet.subarray(0, 12), packet.subarray(payload)]);
  made[0] &= ~0x1f;
  made[1] = (made[1] & 0x80) | payloadType;
  made.writeUInt32BE(ssrc, 8);
  return made;
}

export async function relay() {
  const media = {
    audio: direction => {
      const audio = new ndc.Audio('0', direction);
      audio.addOpusCodec(111);
      return audio;
    },
    video: direction => {
      const video = new ndc.Video('1', direction);
      video.addVP8Codec(96);
      return video;
    },
  };
  const TYPES = { audio: 111, video: 96 };
  const SSRCS = { audio: 11_111, video: 22_222 };
  const open = async (pc, url, token) => {
    const gathered = new Promise(resolve => {
      pc.onGatheringStateChange(state => state === 'complete' && resolve());
    });
    pc.setLocalDescription('offer');
    await gathered;
    const { answer, end } = await session(url, token, pc.localDescription().sdp);
    pc.setRemoteDescription(answer, 'answer');
    return async () => {
      await end();
      pc.close();
    };
  };
  const peer = name => new ndc.PeerConnection(name, { iceServers: [], disableAutoNegotiation: true });
  const publisher = peer('publisher');
  const watcher = peer('watcher');
  const out = {};
  const kept = [];
  let video;
  let ending = false;
  for (const kind of KINDS) {
    const sending = media[kind]('SendOnly');
    sending.addSSRC(SSRCS[kind], kind);
    out[kind] = publisher.addTrack(sending);
    const track = watcher.addTrack(media[kind]('RecvOnly'));
    const handler = new ndc.RtcpReceivingSession();
    track.setMediaHandler(handler);
    track.onMessage(packet => {
      // RTCP has types from 192 to 223 here (RFC 5761).
      if (packet[1] >= 192 && packet[1] <= 223) return;
      if (ending || !out[kind].isOpen()) return;
      try {
        out[kind].sendMessageBinary(rewritten(packet, SSRCS[kind], TYPES[kind]));
      } catch (error) {
        // Its own thread may have closed the track since it was asked; what is thrown here ends the process.
        if (!/closed/.test(error.message)) throw error;
      }
    });
    if (kind === 'video') video = track;
    kept.push(handler, track);
  }
  const end = await run(open, publisher, watcher, () => video.isOpen() && video.requestKeyframe());
  return async () => {
    ending = true;
    await end();
    kept.length = 0;
    ndc.cleanup();
  };
}
