// mediasoup behind a small HTTP interface for load tests: SDP in, SDP out.
//
// POST /join/ROOM/WHO   the offer of what WHO sends, or nothing -> the answer to it
// GET  /offer/WHO       waits for something new to receive -> an offer, or 204 after a while
// POST /answer/WHO      the answer to that offer
// POST /leave/WHO
//
// Started as `node server.mjs PORT`; says `ready PORT WORKER_PID VERSION` when it is.

import http from 'node:http';
import * as mediasoup from 'mediasoup';

const ADDRESS = '127.0.0.1';
const WAIT_MS = 20_000;
const RTCP = [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }, { type: 'ccm', parameter: 'fir' }];
const CODECS = [
  { kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2, preferredPayloadType: 111 },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000, preferredPayloadType: 96 },
];

const worker = await mediasoup.createWorker({
  logLevel: 'error',
  rtcMinPort: 30000,
  rtcMaxPort: 39999,
});
worker.on('died', () => process.exit(1));

const rooms = new Map();
const people = new Map();

async function roomOf(id) {
  if (!rooms.has(id)) {
    rooms.set(id, worker.createRouter({ mediaCodecs: CODECS }).then((router) => ({ router, people: new Set() })));
  }
  return rooms.get(id);
}

const newTransport = (router) =>
  router.createWebRtcTransport({
    listenIps: [ADDRESS],
    enableUdp: true,
    initialAvailableOutgoingBitrate: 100_000_000,
  });

/** The sections of a description, each with what is needed of it. */
function parse(sdp) {
  const [session, ...sections] = sdp.split(/\r?\nm=/);
  const attribute = (text, name) => text.match(new RegExp(`^a=${name}:(.*)$`, 'm'))?.[1].trim();
  const all = (text, name) => [...text.matchAll(new RegExp(`^a=${name}:(.*)$`, 'gm'))].map((m) => m[1].trim());
  const fingerprint = attribute(sdp, 'fingerprint').split(' ');
  return {
    fingerprint: { algorithm: fingerprint[0].toLowerCase(), value: fingerprint[1] },
    setup: attribute(sdp, 'setup') ?? attribute(session, 'setup'),
    sections: sections.map((text) => {
      const codecs = all(text, 'rtpmap').map((map) => {
        const [pt, name] = map.split(' ');
        return { pt: Number(pt), name: name.split('/')[0].toLowerCase() };
      });
      const resent = (pt) => all(text, 'fmtp').find((line) => line.includes(`apt=${pt}`))?.split(' ')[0];
      const ssrcs = [...new Set(all(text, 'ssrc').map((line) => Number(line.split(' ')[0])))];
      const pair = attribute(text, 'ssrc-group')?.split(' ').slice(1).map(Number);
      return {
        kind: text.split(' ')[0],
        mid: attribute(text, 'mid'),
        codecs,
        resent,
        ssrc: pair ? pair[0] : ssrcs[0],
        rtx: pair?.[1],
        extensions: all(text, 'extmap').map((line) => {
          const [id, uri] = line.split(' ');
          return { id: Number(id.split('/')[0]), uri };
        }),
      };
    }),
  };
}

function sessionLines(transport, mids) {
  return [
    'v=0',
    `o=- ${Date.now()} 1 IN IP4 ${ADDRESS}`,
    's=-',
    't=0 0',
    'a=ice-lite',
    `a=group:BUNDLE ${mids.join(' ')}`,
  ];
}

function sectionLines(transport, setup, { kind, mid, direction, codecs, extensions, ssrcs }) {
  const { usernameFragment, password } = transport.iceParameters;
  const fingerprint = transport.dtlsParameters.fingerprints.find((f) => f.algorithm === 'sha-256');
  const lines = [
    `m=${kind} 9 UDP/TLS/RTP/SAVPF ${codecs.map((codec) => codec.pt).join(' ')}`,
    `c=IN IP4 ${ADDRESS}`,
    `a=mid:${mid}`,
    `a=${direction}`,
    'a=rtcp-mux',
    `a=ice-ufrag:${usernameFragment}`,
    `a=ice-pwd:${password}`,
    `a=fingerprint:sha-256 ${fingerprint.value}`,
    `a=setup:${setup}`,
  ];
  for (const candidate of transport.iceCandidates) {
    const { foundation, priority, ip, port } = candidate;
    lines.push(`a=candidate:${foundation} 1 udp ${priority} ${ip} ${port} typ host`);
  }
  lines.push('a=end-of-candidates');
  for (const { id, uri } of extensions) lines.push(`a=extmap:${id} ${uri}`);
  for (const codec of codecs) {
    lines.push(`a=rtpmap:${codec.pt} ${codec.map}`);
    if (codec.apt) lines.push(`a=fmtp:${codec.pt} apt=${codec.apt}`);
    for (const { type, parameter } of codec.feedback ?? []) {
      lines.push(`a=rtcp-fb:${codec.pt} ${type}${parameter ? ` ${parameter}` : ''}`);
    }
  }
  if (ssrcs?.rtx) lines.push(`a=ssrc-group:FID ${ssrcs.ssrc} ${ssrcs.rtx}`);
  if (ssrcs) {
    for (const ssrc of [ssrcs.ssrc, ssrcs.rtx].filter(Boolean)) lines.push(`a=ssrc:${ssrc} cname:m`);
  }
  return lines;
}

async function publish(person, sdp) {
  const offer = parse(sdp);
  const { router } = person.room;
  const transport = await newTransport(router);
  person.transports.push(transport);
  await transport.connect({ dtlsParameters: { role: 'client', fingerprints: [offer.fingerprint] } });
  const known = new Map(router.rtpCapabilities.headerExtensions.map((e) => [e.uri, e]));
  const lines = sessionLines(transport, offer.sections.map((section) => section.mid));
  for (const section of offer.sections) {
    const audio = section.kind === 'audio';
    const { pt } = section.codecs.find((codec) => codec.name === (audio ? 'opus' : 'vp8'));
    const rtx = audio ? undefined : Number(section.resent(pt));
    const codecs = [{ pt, map: audio ? 'opus/48000/2' : 'VP8/90000', feedback: audio ? [] : RTCP }];
    if (rtx) codecs.push({ pt: rtx, map: 'rtx/90000', apt: pt });
    const extensions = section.extensions.filter(({ uri }) => known.get(uri)?.kind === section.kind);
    const parameters = {
      mid: section.mid,
      codecs: codecs.map((codec) => ({
        mimeType: `${section.kind}/${codec.map.split('/')[0]}`,
        payloadType: codec.pt,
        clockRate: audio ? 48000 : 90000,
        ...(audio ? { channels: 2 } : {}),
        parameters: codec.apt ? { apt: codec.apt } : {},
        rtcpFeedback: [...(codec.feedback ?? []), ...(codec.apt ? [] : [{ type: 'transport-cc' }])],
      })),
      headerExtensions: extensions.map(({ id, uri }) => ({ id, uri })),
      encodings: [{ ssrc: section.ssrc, ...(section.rtx ? { rtx: { ssrc: section.rtx } } : {}) }],
      rtcp: { cname: person.who },
    };
    person.producers.push(await transport.produce({ kind: section.kind, rtpParameters: parameters }));
    const { kind, mid } = section;
    lines.push(...sectionLines(transport, 'passive', { kind, mid, direction: 'recvonly', codecs, extensions }));
  }
  return `${lines.join('\r\n')}\r\n`;
}

/** Consumes what is new; gives an offer of all, or nothing. */
async function nextOffer(person) {
  const others = [...person.room.people].filter((other) => other !== person);
  const all = others.flatMap((other) => other.producers);
  const fresh = all.filter((producer) => !producer.closed && !person.consumed.has(producer.id));
  if (fresh.length === 0) return undefined;
  const { router } = person.room;
  person.receiving ??= await newTransport(router);
  for (const producer of fresh) {
    person.consumed.add(producer.id);
    try {
      person.consumers.push(
        await person.receiving.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities }),
      );
    } catch (error) {
      if (!producer.closed) throw error;
    }
  }
  const mids = person.consumers.map((consumer) => consumer.rtpParameters.mid);
  const lines = sessionLines(person.receiving, mids);
  for (const { kind, rtpParameters } of person.consumers) {
    const { mid, encodings, headerExtensions } = rtpParameters;
    const codecs = rtpParameters.codecs.map((codec) => ({
      pt: codec.payloadType,
      map: `${codec.mimeType.split('/')[1]}/${codec.clockRate}${codec.channels > 1 ? `/${codec.channels}` : ''}`,
      apt: codec.parameters.apt,
      feedback: codec.rtcpFeedback,
    }));
    const ssrcs = { ssrc: encodings[0].ssrc, rtx: encodings[0].rtx?.ssrc };
    const section = { kind, mid, direction: 'sendonly', codecs, extensions: headerExtensions, ssrcs };
    lines.push(...sectionLines(person.receiving, 'actpass', section));
  }
  return `${lines.join('\r\n')}\r\n`;
}

async function join(roomId, who, sdp) {
  const room = await roomOf(roomId);
  const person = { who, room, transports: [], producers: [], consumers: [], consumed: new Set(), wake: [] };
  people.set(who, person);
  const answer = sdp ? await publish(person, sdp) : '';
  room.people.add(person);
  for (const other of room.people) for (const wake of other.wake.splice(0)) wake();
  return answer;
}

async function waitForOffer(who) {
  const person = people.get(who);
  const until = Date.now() + WAIT_MS;
  while (person && people.get(who) === person && Date.now() < until) {
    const offer = await nextOffer(person);
    if (offer) return offer;
    await new Promise((wake) => {
      person.wake.push(wake);
      setTimeout(wake, until - Date.now());
    });
  }
  return undefined;
}

async function answer(who, sdp) {
  const person = people.get(who);
  if (!person?.receiving || person.connected) return '';
  person.connected = true;
  const { fingerprint, setup } = parse(sdp);
  const role = setup === 'active' ? 'client' : 'server';
  await person.receiving.connect({ dtlsParameters: { role, fingerprints: [fingerprint] } });
  return '';
}

function leave(who) {
  const person = people.get(who);
  people.delete(who);
  if (!person) return '';
  person.room.people.delete(person);
  for (const transport of [...person.transports, person.receiving]) transport?.close();
  for (const wake of person.wake.splice(0)) wake();
  return '';
}

async function handle(url, body) {
  const [, what, first, second] = url.split('/');
  switch (what) {
    case 'join': return join(first, second, body);
    case 'offer': return waitForOffer(first);
    case 'answer': return answer(first, body);
    case 'leave': return leave(first);
    default: throw new Error(`nothing at ${url}`);
  }
}

const server = http.createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', async () => {
    try {
      const said = await handle(request.url, body);
      response.statusCode = said === undefined ? 204 : 200;
      response.end(said);
    } catch (error) {
      response.statusCode = 500;
      response.end(String(error?.stack ?? error));
    }
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2] ?? 0), ADDRESS, () => {
  console.log(`ready ${server.address().port} ${worker.pid} ${mediasoup.version}`);
});
