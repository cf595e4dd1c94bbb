// Tools that others wrote, each in a call with Chromium on the demo's page: it watches what Chromium publishes
// and publishes that as another participant. Chromium's own colour and tone come back to it, if media goes
// both ways. FFmpeg only publishes.
//
// CONVOKE_BIN, WHIP_PYTHON and WHIP_WEBRTC_RS name the server, a Python with requirements.txt, and the program
// of webrtc-rs; `make whip-test` sets them, and runs this by namespace.sh: nothing leaves the namespace.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { PEOPLE } from '../e2e/lib/participant.mjs';
import { onStage } from '../e2e/lib/stage.mjs';

// libnice never uses 127.0.0.1 for media.
const MEDIA = { media: '10.99.0.1' };
const { WHIP_PYTHON, WHIP_WEBRTC_RS } = process.env;
const [, GRUEN] = PEOPLE;

const here = name => fileURLToPath(new URL(name, import.meta.url));
const RELAY = here('relay/relay.mjs');

/** Whom the page calls by this name; who it is for the server is `identity`. */
async function token(server, displayName, identity) {
  const body = JSON.stringify({ displayName, identity });
  const headers = { 'content-type': 'application/json' };
  const reply = await fetch(new URL('dev/token', server.url), { method: 'POST', headers, body });
  return (await reply.json()).token;
}

/** Starts a tool; it is ended whatever happens. */
function start(stage, [command, ...args], env = {}) {
  const tool = spawn(command, args, { stdio: ['pipe', 'inherit', 'inherit'], env: { ...process.env, ...env } });
  stage.after(() => tool.kill('SIGKILL'));
  return tool;
}

/** Chromium alone in a call with `tool`, which is given where to watch and where to publish. */
function relays(...tool) {
  return onStage({}, async stage => {
    const rosa = await stage.join(0, { query: { identity: 'rosa' } });
    const [whep, whip] = ['whep', 'whip'].map(kind => new URL(`${kind}/${stage.groupId}`, stage.server.url).href);
    const relay = start(stage, [...tool, `${whep}?participant=rosa`, whip], {
      WATCH_TOKEN: await token(stage.server, 'eye', 'eye'),
      PUBLISH_TOKEN: await token(stage.server, GRUEN.name, 'relay'),
    });
    const exit = once(relay, 'exit');
    const echo = { name: GRUEN.name, who: rosa.who };
    await rosa.seesPictureOf(echo, { timeout: 40_000 });
    await rosa.hearsExactly([echo]);
    relay.stdin.end();
    assert.deepEqual(await exit, [0, null]);
    await rosa.seesExactly([]);
  }, MEDIA);
}

test('aiortc and Chromium', () => relays(WHIP_PYTHON, here('aiortc_relay.py')));

test('GStreamer and Chromium', () => relays('/usr/bin/python3', here('gstreamer.py'), 'relay'));

test('werift and Chromium', () => relays('node', RELAY, 'werift'));

test('libdatachannel and Chromium', () => relays('node', RELAY, 'node-datachannel'));

test('libwebrtc and Chromium', () => relays('node', RELAY, 'wrtc'));

test('webrtc-rs and Chromium', () => relays(WHIP_WEBRTC_RS));

test('Chromium sees and hears FFmpeg', () => onStage({}, async stage => {
  const rosa = await stage.join(0);
  const ffmpeg = execFileSync(WHIP_PYTHON, ['-c', 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())']);
  const [red, green, blue] = GRUEN.colour.map(part => part.toString(16).padStart(2, '0'));
  // As page-script.mjs draws it: one colour, and a white bar that moves in the lower fifth.
  const picture = `color=0x${red}${green}${blue}:size=640x360:rate=20[all];color=white:size=80x72:rate=20[bar];`
    + "[all][bar]overlay=x='mod(t*160,560)':y=288,format=yuv420p";
  const film = start(stage, [
    ffmpeg.toString().trim(),
    ...'-hide_banner -loglevel error -nostdin -re -f lavfi -i'.split(' '), picture,
    ...`-f lavfi -i sine=frequency=${GRUEN.tone}:sample_rate=48000`.split(' '),
    ...'-c:v libx264 -profile:v baseline -preset ultrafast -tune zerolatency -bf 0 -g 20 -b:v 600k'.split(' '),
    ...'-c:a libopus -ar 48000 -ac 2 -f whip -authorization'.split(' '),
    await token(stage.server, GRUEN.name, 'film'), new URL(`whip/${stage.groupId}`, stage.server.url).href,
  ]);
  const echo = { name: GRUEN.name, who: GRUEN };
  await rosa.seesPictureOf(echo, { timeout: 40_000 });
  await rosa.hearsExactly([echo]);
  film.kill('SIGTERM');
  await rosa.seesExactly([]);
}, MEDIA));
