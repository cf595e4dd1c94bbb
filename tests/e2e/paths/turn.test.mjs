// A participant whose network lets UDP go to a TURN server alone. Run by paths.sh, with Debian's coturn.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { launch } from '../lib/browser.mjs';
import { everyoneHearsEveryone, everyoneSeesEveryone } from '../lib/participant.mjs';
import { onStage } from '../lib/stage.mjs';
import { until } from '../lib/wait.mjs';

const SERVER = '10.98.0.1';
const RELAY = '10.98.0.9';
const URL_OF_RELAY = `turn:${RELAY}:3478?transport=udp`;
const SECRET = 'a secret that coturn has, too';

/** coturn, for clients with credentials of SECRET. */
async function startRelay(folder) {
  execFileSync('ip', ['addr', 'replace', `${RELAY}/32`, 'dev', 'lo']);
  const child = spawn('turnserver', [
    '-n', `--listening-ip=${RELAY}`, `--relay-ip=${RELAY}`, '--listening-port=3478',
    '--use-auth-secret', `--static-auth-secret=${SECRET}`, '--realm=turn.test', '--fingerprint',
    '--no-tls', '--no-dtls', '--no-cli', '--no-multicast-peers',
    '--log-file=stdout', '--simple-log', `--pidfile=${join(folder, 'pid')}`, `--userdb=${join(folder, 'db')}`,
  ], { cwd: folder });
  const relay = { log: '', stop: () => child.kill('SIGKILL') };
  child.stdout.on('data', data => { relay.log += data; });
  child.stderr.on('data', data => { relay.log += data; });
  child.on('error', error => { relay.log += error; });
  await until('coturn listens', () => /IO method \(admin thread\)/.test(relay.log), { timeout: 15_000 });
  return relay;
}

/** Of the client's UDP only what goes to the TURN server comes through. */
function closeNetwork() {
  execFileSync('nft', ['-f', '-'], { input: `
    table inet closed {
      chain in {
        type filter hook input priority filter;
        iifname { "p1", "p2" } udp dport 3478 ip daddr ${RELAY} accept
        iifname { "p1", "p2" } meta l4proto udp counter drop
      }
    }
    ` });
}

async function withRelay(play) {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-turn-'));
  const relay = await startRelay(folder);
  closeNetwork();
  writeFileSync(join(folder, 'turn.key'), SECRET);
  const config = {
    'media.workers': 1,
    'turn.servers': `[{ urls = ["${URL_OF_RELAY}"], secret_file = "${join(folder, 'turn.key')}" }]`,
  };
  try {
    await onStage(config, async stage => {
      const elsewhere = await launch({ netns: 'client', trusted: stage.server.url });
      stage.after(() => elsewhere.close());
      await play(stage, elsewhere);
    }, { media: SERVER, http: SERVER, browser: false });
  } catch (error) {
    error.message += `\n--- coturn ---\n${relay.log.split('\n').slice(-30).join('\n')}`;
    throw error;
  } finally {
    relay.stop();
    execFileSync('nft', ['delete', 'table', 'inet', 'closed']);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Of each peer connection that is up, what kind of candidate its own end of the pair in use is. */
function kindsOf(person) {
  return person.page.evaluate(async () => {
    const kinds = [];
    for (const pc of window.e2e.connections) {
      const stats = await pc.getStats();
      stats.forEach(s => {
        if (s.type !== 'transport') return;
        kinds.push(stats.get(stats.get(s.selectedCandidatePairId)?.localCandidateId)?.candidateType);
      });
    }
    return kinds;
  });
}

test('where only TURN comes through, media goes by it, both ways', () => withRelay(async (stage, elsewhere) => {
  const beside = await launch({ trusted: stage.server.url });
  stage.after(() => beside.close());
  const rosa = await stage.join(0, { browser: elsewhere });
  const gruen = await stage.join(1, { browser: beside });
  await everyoneSeesEveryone([rosa, gruen]);
  await everyoneHearsEveryone([rosa, gruen]);
  assert.deepEqual(await kindsOf(rosa), ['relay', 'relay']);
  assert.ok((await kindsOf(gruen)).every(kind => kind !== 'relay'));
}));

/** Relay candidates that a page gets of a TURN server, and what it says of those it does not get. */
function gather(page, iceServer) {
  return page.evaluate(async server => {
    const pc = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: 'relay' });
    const found = { candidates: 0, errors: [] };
    pc.onicecandidate = ({ candidate }) => { if (candidate?.candidate) found.candidates += 1; };
    pc.onicecandidateerror = ({ errorCode }) => found.errors.push(errorCode);
    pc.addTransceiver('audio');
    await pc.setLocalDescription();
    const end = performance.now() + 15_000;
    while (pc.iceGatheringState !== 'complete' && performance.now() < end) {
      await new Promise(resolve => { setTimeout(resolve, 20); });
    }
    pc.close();
    return found;
  }, iceServer);
}

test('wrong and expired credentials do not come through', () => withRelay(async (stage, elsewhere) => {
  const rosa = await stage.join(0, { browser: elsewhere });
  const [given] = await rosa.page.evaluate(() => window.e2e.connections[0].getConfiguration().iceServers);
  const expiry = Number(given.username.split(':')[0]);
  assert.ok(Math.abs(expiry - Date.now() / 1_000 - 86_400) < 120, `good for a day: ${given.username}`);
  const password = (username, secret) => createHmac('sha1', secret).update(username).digest('base64');
  assert.equal(given.credential, password(given.username, SECRET));
  const right = await gather(rosa.page, given);
  assert.ok(right.candidates > 0 && !right.errors.includes(401), JSON.stringify(right));

  const expired = `${Math.floor(Date.now() / 1_000) - 60}:${given.username.split(':').slice(1).join(':')}`;
  for (const [what, username, credential] of [
    ['another password', given.username, password(given.username, 'another secret, which is no secret')],
    ['a longer life than was given', given.username.replace(/^\d+/, String(expiry + 1)), given.credential],
    ['an expired user name', expired, password(expired, SECRET)],
  ]) {
    const wrong = await gather(rosa.page, { urls: given.urls, username, credential });
    assert.equal(wrong.candidates, 0, what);
    assert.ok(wrong.errors.includes(401), `${what}: ${JSON.stringify(wrong)}`);
  }
}));
