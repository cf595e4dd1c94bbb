// https://www.npmjs.com/package/werift
import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } from 'werift';

import { KINDS, run, session } from './sessions.mjs';

export async function relay() {
  const codecs = {
    audio: [new RTCRtpCodecParameters({ mimeType: 'audio/opus', clockRate: 48_000, channels: 2 })],
    video: [new RTCRtpCodecParameters({
      mimeType: 'video/VP8', clockRate: 90_000,
      rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }],
    })],
  };
  const peer = () => new RTCPeerConnection({ iceServers: [], bundlePolicy: 'max-bundle', codecs });
  const open = async (pc, url, token) => {
    const offer = await pc.createOffer();
    // Without any it asks one of Google's.
    for (const { connection } of pc.iceTransports) connection.stunServer = undefined;
    await pc.setLocalDescription(offer);
    const { answer, end } = await session(url, token, pc.localDescription.sdp);
    await pc.setRemoteDescription({ type: 'answer', sdp: answer });
    return async () => {
      await end();
      await pc.close();
    };
  };
  const publisher = peer();
  const out = {};
  for (const kind of KINDS) {
    out[kind] = new MediaStreamTrack({ kind });
    publisher.addTransceiver(out[kind], { direction: 'sendonly' });
  }
  const watcher = peer();
  for (const kind of KINDS) {
    const transceiver = watcher.addTransceiver(kind, { direction: 'recvonly' });
    transceiver.onTrack.subscribe(track => track.onReceiveRtp.subscribe(packet => {
      // The numbers of header extensions are of one session.
      packet.header.extensions = [];
      packet.header.extension = false;
      out[kind].writeRtp(packet);
      if (kind === 'video') last = { transceiver, ssrc: packet.header.ssrc };
    }));
  }
  let last;
  return run(open, publisher, watcher, () => last?.transceiver.receiver.sendRtcpPLI(last.ssrc));
}
