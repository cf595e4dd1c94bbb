// A participant with two networks, one of which goes: how long the media is away. Run by paths.sh.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

import { launch } from '../lib/browser.mjs';
import { everyoneHearsEveryone, everyoneSeesEveryone } from '../lib/participant.mjs';
import { onStage } from '../lib/stage.mjs';
import { sleep } from '../lib/wait.mjs';

const SERVER = '10.98.0.1';

// By pictures and by sounds, in both directions. So many switches are within that before so many are not.
const WITHIN = 1_000;
const ENOUGH = 3;
// For so long the next restart is put off (`againMs` in pathWatch.ts), and some.
const BETWEEN = 5_000;
// Chromium takes a network that came into use no sooner.
const KNOWN_AFTER = 4_000;
// From when there is a network again; see KNOWN_AFTER.
const ARRIVED_WITHIN = 8_000;
// The WebSocket is not told either, and where it is opened anew the same network is preferred: it is
// Chromium that finds out, and takes to its spare pair.
const BLACK_HOLE_WITHIN = 11_000;

function ip(...args) {
  execFileSync('ip', ['-n', 'client', ...args]);
}

const network = {
  lose(n) {
    ip('addr', 'flush', 'dev', `w${n}`);
    ip('link', 'set', `w${n}`, 'down');
  },
  /** As paths.sh makes it. */
  restore(n) {
    const via = ['default', 'via', `10.98.${n}.1`, 'dev', `w${n}`];
    ip('link', 'set', `w${n}`, 'up');
    ip('addr', 'replace', `10.98.${n}.2/24`, 'dev', `w${n}`);
    ip('route', 'replace', ...via, 'metric', `${n}`);
    ip('route', 'replace', ...via, 'table', `10${n}`);
  },
};

/** Rosa with two networks, and Gruen beside the server. */
async function pair(stage) {
  for (const n of [1, 2]) stage.after(() => network.restore(n));
  const elsewhere = await launch({ netns: 'client', trusted: stage.server.url });
  stage.after(() => elsewhere.close());
  const beside = await launch({ trusted: stage.server.url });
  stage.after(() => beside.close());
  const rosa = await stage.join(0, { browser: elsewhere });
  const gruen = await stage.join(1, { browser: beside });
  await everyoneSeesEveryone([rosa, gruen]);
  for (const { page } of [rosa, gruen]) {
    await page.evaluate(() => {
      const at = { pictures: [], sounds: [] };
      const last = {};
      const note = (what, count) => {
        if (count !== last[what]) at[what].push(performance.timeOrigin + performance.now());
        last[what] = count;
      };
      window.e2e.cameAt = at;
      setInterval(async () => {
        const { inbound } = await window.e2e.stats();
        const sum = (kind, of) => inbound.filter(s => s.kind === kind).reduce((all, s) => all + of(s), 0);
        note('pictures', sum('video', s => s.framesDecoded));
        note('sounds', sum('audio', s => s.packetsReceived));
      }, 40);
    });
  }
  return [rosa, gruen];
}

/** The longest times without pictures and without sounds since `from`, in ms. */
function gaps(person, from) {
  return person.page.evaluate(from => Object.values(window.e2e.cameAt).map(came => {
    const at = [from, ...came.filter(time => time >= from), performance.timeOrigin + performance.now()];
    return Math.round(Math.max(...at.slice(1).map((time, i) => time - at[i])));
  }), from);
}

const ids = people => Promise.all(people.map(({ page }) => page.evaluate(() => window.convoke.call.participantId)));

async function stillTheSame(people, before) {
  await everyoneSeesEveryone(people);
  await everyoneHearsEveryone(people);
  assert.deepEqual(await ids(people), before, 'nobody joined anew');
}

/** Does `how`, and gives the gaps of `people` in the time after it: `[[pictures, sounds], …]`. */
async function away(people, how, wait, about) {
  const from = Date.now();
  await how();
  await sleep(wait);
  const found = await Promise.all(people.map(person => gaps(person, from)));
  const [to, back] = found.map(([pictures, sounds]) => `pictures ${pictures} ms, sounds ${sounds} ms`);
  console.log(`${about}: to the one who moved ${to}; from there ${back}`);
  return found;
}

const OPTIONS = { media: SERVER, http: SERVER, browser: false };

test('a network that goes, while there is another one', () => onStage({ 'media.workers': 1 }, async stage => {
  const people = await pair(stage);
  const before = await ids(people);
  const found = [];
  const good = () => found.filter(gap => gap <= WITHIN).length;
  for (let n = 1; good() < ENOUGH && found.length - good() < ENOUGH; n = 3 - n) {
    found.push(Math.max(...(await away(people, () => network.lose(n), BETWEEN, `network ${n} goes`)).flat()));
    network.restore(n);
    await sleep(KNOWN_AFTER);
  }
  await stillTheSame(people, before);
  assert.ok(good() === ENOUGH, `at most ${WITHIN} ms: ${found}`);
}, OPTIONS));

test('nobody is restarted for saying nothing', () => onStage({ 'media.workers': 1 }, async stage => {
  const people = await pair(stage);
  const ufrags = () => Promise.all(people.map(({ page }) => page.evaluate(() =>
    window.e2e.connections.map(pc => /a=ice-ufrag:(\S+)/.exec(pc.localDescription.sdp)[1]))));
  const before = await ufrags();
  for (const { page } of people.toReversed()) {
    await page.evaluate(async () => {
      const { call } = window.convoke;
      await call.mute();
      for (const stream of [...call.localVideoStreams]) await call.stopVideo(stream);
    });
    await sleep(5_000);
    assert.deepEqual(await ufrags(), before, 'muted');
  }
  // A muted microphone sends silence; this is somebody who has none.
  for (const { page } of people) {
    await page.evaluate(() => Promise.all(window.e2e.connections.flatMap(pc => pc.getSenders())
      .map(sender => sender.replaceTrack(null))));
    await sleep(6_000);
    assert.deepEqual(await ufrags(), before, 'without anything to send');
  }
}, OPTIONS));

test('a network that comes when the other one has long gone', () => onStage({ 'media.workers': 1 }, async stage => {
  const people = await pair(stage);
  const before = await ids(people);
  network.lose(2);
  network.lose(1);
  await sleep(3_000);
  const found = await away(people, () => network.restore(2), 5_000, 'network 2 comes');
  await stillTheSame(people, before);
  assert.ok(found.flat().every(gap => gap <= ARRIVED_WITHIN), `at most ${ARRIVED_WITHIN} ms: ${found}`);
}, OPTIONS));

test('a network that carries nothing any more, which nobody is told', () => onStage({ 'media.workers': 1 }, async stage => {
  stage.after(() => execFileSync('nft', ['delete', 'table', 'inet', 'lost']));
  const people = await pair(stage);
  const before = await ids(people);
  const found = await away(people, () => execFileSync('nft', ['-f', '-'], { input: `
    table inet lost {
      chain in { type filter hook prerouting priority raw; iifname "p1" drop; }
      chain out { type filter hook output priority filter; oifname "p1" drop; }
    }
    ` }), 12_000, 'network 1 is a black hole');
  await stillTheSame(people, before);
  assert.ok(found.flat().every(gap => gap <= BLACK_HOLE_WITHIN), `at most ${BLACK_HOLE_WITHIN} ms: ${found}`);
}, OPTIONS));
