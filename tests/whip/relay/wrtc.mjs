// https://www.npmjs.com/package/@roamhq/wrtc, of libwebrtc
import wrtc from '@roamhq/wrtc';

import { KINDS, run, session } from './sessions.mjs';

const { RTCAudioSink, RTCAudioSource, RTCVideoSink, RTCVideoSource } = wrtc.nonstandard;

export async function relay() {
  const peer = () => new wrtc.RTCPeerConnection({ iceServers: [], bundlePolicy: 'max-bundle' });
  const open = async (pc, url, token) => {
    await pc.setLocalDescription(await pc.createOffer());
    // Its candidates are not in the offer that createOffer gave.
    await new Promise(resolve => {
      const look = () => pc.iceGatheringState === 'complete' && resolve();
      pc.addEventListener('icegatheringstatechange', look);
      look();
    });
    const { answer, end } = await session(url, token, pc.localDescription.sdp);
    await pc.setRemoteDescription({ type: 'answer', sdp: answer });
    return async () => {
      await end();
      pc.close();
    };
  };
  const publisher = peer();
  const out = { audio: new RTCAudioSource(), video: new RTCVideoSource() };
  const watcher = peer();
  const sinks = [];
  for (const kind of KINDS) {
    publisher.addTransceiver(out[kind].createTrack(), { direction: 'sendonly' });
    const { receiver } = watcher.addTransceiver(kind, { direction: 'recvonly' });
    if (kind === 'video') {
      const sink = new RTCVideoSink(receiver.track);
      sink.onframe = ({ frame }) => out.video.onFrame(frame);
      sinks.push(sink);
    } else {
      const sink = new RTCAudioSink(receiver.track);
      sink.ondata = data => out.audio.onData(data);
      sinks.push(sink);
    }
  }
  // It asks for pictures by itself.
  const end = await run(open, publisher, watcher, () => {});
  return async () => {
    for (const sink of sinks) sink.stop();
    await end();
  };
}
