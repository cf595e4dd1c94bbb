// Peers that neither encode nor decode, by WHIP and WHEP: they watch one participant, and publish its packets
// as another. So what comes out at the end has gone through the peer both ways.
//
//   node relay.mjs werift|node-datachannel WHEP-URL WHIP-URL
//
// Tokens are in WATCH_TOKEN and PUBLISH_TOKEN. Ends its sessions when standard input is closed.
const [, , library, whep, whip] = process.argv;

async function session(url, token, offer) {
  const authorization = `Bearer ${token}`;
  const headers = { authorization, 'content-type': 'application/sdp' };
  const reply = await fetch(url, { method: 'POST', headers, body: offer });
  const answer = await reply.text();
  if (reply.status !== 201) throw new Error(`${reply.status} ${answer}`);
  const at = new URL(reply.headers.get('location'), reply.url);
  const end = async () => {
    const { status } = await fetch(at, { method: 'DELETE', headers: { authorization } });
    if (status !== 200) throw new Error(`DELETE: ${status}`);
  };
  return { answer, end };
}

const KINDS = ['audio', 'video'];

/** Opens both sessions, and asks for a picture each second; what it gives ends that. */
async function run(open, publisher, watcher, askForPicture) {
  const asking = setInterval(askForPicture, 1_000);
  const ends = [
    await open(publisher, whip, process.env.PUBLISH_TOKEN),
    await open(watcher, whep, process.env.WATCH_TOKEN),
  ];
  return async () => {
    clearInterval(asking);
    for (const end of ends) await end();
  };
}

/** https://www.npmjs.com/package/werift */
async function werift() {
  const { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } = await import('werift');
  const codecs = {
    audio: [new RTCRtpCodecParameters({ mimeType: 'audio/opus', clockRate: 48_000, channels: 2 })],
    video: [new RTCRtpCodecParameters({
      mimeType: 'video/VP8', clockRate: 90_000,
      rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }],
    })],
  };
  const peer = () => new RTCPeerConnection({ iceServers: [], bundlePolicy: 'max-bundle', codecs });
  const open = async (pc, url, token) => {
    await pc.setLocalDescription(await pc.createOffer());
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

/** https://www.npmjs.com/package/node-datachannel, of libdatachannel */
async function nodeDatachannel() {
  const { default: ndc } = await import('node-datachannel');
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
      if (out[kind].isOpen()) out[kind].sendMessageBinary(rewritten(packet, SSRCS[kind], TYPES[kind]));
    });
    if (kind === 'video') video = track;
    kept.push(handler, track);
  }
  const end = await run(open, publisher, watcher, () => video.isOpen() && video.requestKeyframe());
  return async () => {
    await end();
    kept.length = 0;
    ndc.cleanup();
  };
}

const end = await { werift, 'node-datachannel': nodeDatachannel }[library]();
for await (const _ of process.stdin);
await end();
process.exit(0);
