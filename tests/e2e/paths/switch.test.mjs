// A participant with two networks, one of which goes: how long the media is away. Run by paths.sh.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

import { launch } from '../lib/browser.mjs';
import { everyoneHearsEveryone, everyoneSeesEveryone } from '../lib/participant.mjs';
import { onStage } from '../lib/stage.mjs';
import { sleep } from '../lib/wait.mjs';

const SERVER = '10.98.0.1';

// The client is told at once, or finds out by the silence.
const WITHIN = 2_500;
// The WebSocket is not told either, and where it is opened anew the same network is preferred: it is
// Chromium that finds out, and takes to its spare pair.
const BLACK_HOLE_WITHIN = 11_000;

function ip(...args) {
  execFileSync('ip', ['-n', 'client', ...args]);
}

/** Rosa with two networks, and Gruen beside the server. */
async function pair(stage) {
  const elsewhere = await launch({ netns: 'client', trusted: stage.server.url });
  stage.after(() => elsewhere.close());
  const beside = await launch({ trusted: stage.server.url });
  stage.after(() => beside.close());
  const rosa = await stage.join(0, { browser: elsewhere });
  const gruen = await stage.join(1, { browser: beside });
  await everyoneSeesEveryone([rosa, gruen]);
  return [rosa, gruen];
}

/** Begins to note when pictures are decoded. */
async function watch(person) {
  await person.page.evaluate(() => {
    window.e2e.decodedAt = [];
    let last = -1;
    window.e2e.decoding = setInterval(async () => {
      const { inbound } = await window.e2e.stats();
      const frames = inbound.reduce((sum, s) => sum + s.framesDecoded, 0);
      if (frames !== last) window.e2e.decodedAt.push(performance.now());
      last = frames;
    }, 40);
  });
}

/** The longest time without a picture, in ms. */
function gap(person) {
  return person.page.evaluate(() => {
    const at = [...window.e2e.decodedAt, performance.now()];
    return Math.round(Math.max(...at.slice(1).map((time, i) => time - at[i])));
  });
}

async function lose(stage, how, most) {
  const people = await pair(stage);
  const ids = await Promise.all(people.map(({ page }) => page.evaluate(() => window.convoke.call.participantId)));
  for (const person of people) await watch(person);
  await sleep(1_000);
  how();
  await sleep(12_000);
  const [toRosa, fromRosa] = await Promise.all(people.map(gap));
  console.log(`media was away for ${toRosa} ms (to the one who moved) and ${fromRosa} ms (from there)`);
  await everyoneSeesEveryone(people);
  await everyoneHearsEveryone(people);
  const after = await Promise.all(people.map(({ page }) => page.evaluate(() => window.convoke.call.participantId)));
  assert.deepEqual(after, ids, 'nobody joined anew');
  assert.ok(toRosa <= most && fromRosa <= most, `at most ${most} ms: ${toRosa}, ${fromRosa}`);
}

const OPTIONS = { media: SERVER, http: SERVER, browser: false };

test('a network that goes', () => onStage({ 'media.workers': 1 }, stage => {
  stage.after(() => {
    ip('link', 'set', 'w1', 'up');
    ip('addr', 'add', '10.98.1.2/24', 'dev', 'w1');
    ip('route', 'add', 'default', 'via', '10.98.1.1', 'dev', 'w1', 'metric', '1');
    ip('route', 'add', 'default', 'via', '10.98.1.1', 'dev', 'w1', 'table', '101');
  });
  return lose(stage, () => {
    ip('addr', 'flush', 'dev', 'w1');
    ip('link', 'set', 'w1', 'down');
  }, WITHIN);
}, OPTIONS));

test('a network that carries nothing any more, which nobody is told', () => onStage({ 'media.workers': 1 }, stage => {
  stage.after(() => execFileSync('nft', ['delete', 'table', 'inet', 'lost']));
  return lose(stage, () => execFileSync('nft', ['-f', '-'], { input: `
    table inet lost {
      chain in { type filter hook prerouting priority raw; iifname "p1" drop; }
      chain out { type filter hook output priority filter; oifname "p1" drop; }
    }
    ` }), BLACK_HOLE_WITHIN);
}, OPTIONS));
