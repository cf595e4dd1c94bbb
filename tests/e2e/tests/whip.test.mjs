// WHIP and WHEP: plain RTCPeerConnection and fetch beside the demo.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { onStage } from '../lib/stage.mjs';
import { until } from '../lib/wait.mjs';

/** What a page needs to be a client of either, in `window.http`. */
function clientScript() {
  const token = async name => {
    const body = JSON.stringify({ displayName: name, identity: `http:${name}` });
    const headers = { 'content-type': 'application/json' };
    const reply = await fetch('/dev/token', { method: 'POST', headers, body });
    return (await reply.json()).token;
  };
  window.http = {
    async open(path, name, prepare) {
      const bearer = { authorization: `Bearer ${await token(name)}` };
      const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
      await prepare(pc);
      await pc.setLocalDescription();
      const reply = await fetch(path, {
        method: 'POST', body: pc.localDescription.sdp,
        headers: { ...bearer, 'content-type': 'application/sdp' },
      });
      if (reply.status !== 201) throw new Error(`${reply.status} ${await reply.text()}`);
      await pc.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
      const at = new URL(reply.headers.get('location'), reply.url);
      const link = reply.headers.get('link');
      this.session = { pc, at, bearer, etag: reply.headers.get('etag'), link };
    },
    publish(path, name) {
      return this.open(path, name, async pc => {
        const media = await navigator.mediaDevices.getUserMedia({
          audio: true, video: { width: 1280, height: 720 },
        });
        const streams = [media];
        pc.addTransceiver(media.getAudioTracks()[0], { direction: 'sendonly', streams });
        pc.addTransceiver(media.getVideoTracks()[0], {
          direction: 'sendonly', streams,
          sendEncodings: [
            { rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' },
          ],
        });
      });
    },
    watch(path, name) {
      return this.open(path, name, async pc => {
        pc.addTransceiver('audio', { direction: 'recvonly' });
        pc.addTransceiver('video', { direction: 'recvonly' });
        const video = document.body.appendChild(document.createElement('video'));
        video.autoplay = true;
        video.srcObject = new MediaStream();
        pc.ontrack = ({ track }) => video.srcObject.addTrack(track);
      });
    },
    async received() {
      const stats = [...(await this.session.pc.getStats()).values()];
      const of = kind => stats.find(s => s.type === 'inbound-rtp' && s.kind === kind) ?? {};
      const { framesDecoded = 0, frameHeight = 0 } = of('video');
      const { packetsReceived = 0, totalAudioEnergy = 0 } = of('audio');
      return { framesDecoded, frameHeight, packetsReceived, totalAudioEnergy };
    },
    async choose(body) {
      const url = /<([^>]+)>; rel="urn:ietf:params:whep:ext:core:layer"/.exec(this.session.link)[1];
      const headers = { ...this.session.bearer, 'content-type': 'application/json' };
      return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).status;
    },
    /** An ICE restart; the new ETag. */
    async restart() {
      const { pc, at, bearer } = this.session;
      pc.restartIce();
      await pc.setLocalDescription();
      const wanted = /^(m=audio|a=(mid:0|ice-ufrag|ice-pwd|candidate))/;
      const first = pc.localDescription.sdp.split('\r\nm=video')[0].split('\r\n');
      const body = `${first.filter(line => wanted.test(line)).join('\r\n')}\r\n`;
      const reply = await fetch(at, {
        method: 'PATCH', body,
        headers: { ...bearer, 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': '*' },
      });
      if (reply.status !== 200) throw new Error(`${reply.status} ${await reply.text()}`);
      const fragment = await reply.text();
      const value = name => new RegExp(`a=${name}:(\\S+)`).exec(fragment)[1];
      const sdp = pc.remoteDescription.sdp
        .replaceAll(/a=ice-ufrag:\S+/g, `a=ice-ufrag:${value('ice-ufrag')}`)
        .replaceAll(/a=ice-pwd:\S+/g, `a=ice-pwd:${value('ice-pwd')}`)
        .replaceAll(/ ufrag \S+/g, '');
      await pc.setRemoteDescription({ type: 'answer', sdp });
      return reply.headers.get('etag');
    },
    async end() {
      const { at, bearer, pc } = this.session;
      const reply = await fetch(at, { method: 'DELETE', headers: bearer });
      pc.close();
      return reply.status;
    },
  };
}

/** A page that is no client of the demo. */
async function plain(stage, index, options) {
  const person = await stage.open(index, options);
  await person.page.addInitScript(clientScript);
  await person.page.goto(person.url);
  return person;
}

const received = person => person.page.evaluate(() => window.http.received());

/** Waits until so many more frames were decoded, of this height if it is given. */
async function decodes(person, frames, height) {
  const before = await received(person);
  await until(`${person.name} decodes ${frames} frames`, async note => {
    const now = await received(person);
    note(now);
    return now.framesDecoded >= before.framesDecoded + frames && (!height || now.frameHeight === height);
  }, { timeout: 60_000 });
}

test('Chromium publishes by WHIP, the demo and a WHEP player see it', () => onStage({}, async stage => {
  const rosa = await stage.join(0);
  const gruen = await plain(stage, 1, { width: 1280, height: 720 });
  const azul = await plain(stage, 2);
  await gruen.page.evaluate(path => window.http.publish(path, 'Gruen'), `/whip/${stage.groupId}`);
  await rosa.seesExactly([gruen]);
  await rosa.seesPictureOf(gruen);
  await rosa.hearsExactly([gruen]);

  await azul.page.evaluate(path => window.http.watch(path, 'Azul'), `/whep/${stage.groupId}?participant=http:Gruen`);
  await rosa.seesExactly([gruen, azul]);
  await decodes(azul, 30, 720);
  const { packetsReceived, totalAudioEnergy } = await received(azul);
  assert.ok(packetsReceived > 20 && totalAudioEnergy > 0, JSON.stringify({ packetsReceived, totalAudioEnergy }));

  assert.equal(await azul.page.evaluate(() => window.http.choose({ encodingId: 'q' })), 200);
  await decodes(azul, 10, 180);
  assert.equal(await azul.page.evaluate(() => window.http.choose({})), 200);
  await decodes(azul, 10, 720);

  // ICE restarts of both, and media goes on.
  for (const person of [gruen, azul]) {
    const etags = await person.page.evaluate(async () => [window.http.session.etag, await window.http.restart()]);
    assert.notEqual(etags[0], etags[1]);
    await decodes(azul, 30);
  }

  assert.equal(await azul.page.evaluate(() => window.http.end()), 200);
  await rosa.seesExactly([gruen]);
  assert.equal(await gruen.page.evaluate(() => window.http.end()), 200);
  await rosa.seesExactly([]);
}));
