// A server with keys of its own, whose tokens an app server asks for: the way of docs/quick-start.md.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { launch } from '../lib/browser.mjs';
import { Participant } from '../lib/participant.mjs';
import { BINARY } from '../lib/server.mjs';
import { until } from '../lib/wait.mjs';

const GUIDE = readFileSync(new URL('../../../docs/quick-start.md', import.meta.url), 'utf8');
const CONFIGURATION = /<<'TOML'\n(.*?)\nTOML/s.exec(GUIDE)[1];

async function freePort() {
  const listening = createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => listening.once('listening', resolve));
  const { port } = listening.address();
  await new Promise(resolve => listening.close(resolve));
  return port;
}

/** As the app server asks. */
async function tokenFrom(url, key) {
  const reply = await fetch(`${url}identities?api-version=2024-06-15`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ createTokenWithScopes: ['voip'] }),
  });
  assert.equal(reply.status, 201);
  return (await reply.json()).accessToken.token;
}

/** Presses the button, pastes the token that the page asks for, and presses it again. */
async function enter(person, button, token) {
  await person.press(button);
  await person.page.locator('[data-testid=token-input]').waitFor({ state: 'visible' });
  await person.fill('token-input', token);
  await person.press(button);
  await person.connected();
}

test('two people call with tokens that an app server made', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-e2e-'));
  for (const name of ['token.key', 'app.key']) {
    const out = join(folder, name);
    execFileSync(BINARY, ['token', 'key', '--algorithm', 'hs256', '--out', out], { stdio: 'ignore' });
  }
  writeFileSync(join(folder, 'convoke.toml'), CONFIGURATION);
  const http = `127.0.0.1:${await freePort()}`;
  const url = `http://${http}/`;
  const env = { ...process.env, CONVOKE__HTTP__METRICS_LISTEN: '' };
  const server = spawn(BINARY, [
    'serve', '--config', join(folder, 'convoke.toml'), '--http', http, '--media', '127.0.0.1:0',
  ], { cwd: folder, env, stdio: 'ignore' });
  const browser = await launch();
  try {
    await until('the server is ready', () => fetch(`${url}readyz`).then(({ ok }) => ok, () => false));
    const key = readFileSync(join(folder, 'app.key'), 'utf8').trim();
    const ada = await Participant.open(browser, 0, url);
    await ada.page.goto(url);
    await ada.fill('name-input', ada.name);
    await enter(ada, 'start-call', await tokenFrom(url, key));
    const groupId = await ada.page.evaluate(() => window.convoke.call.groupId);
    const bob = await Participant.open(browser, 1, url);
    await bob.page.goto(`${url}?call=${groupId}`);
    await bob.fill('name-input', bob.name);
    await enter(bob, 'join-call', await tokenFrom(url, key));
    await ada.seesPictureOf(bob);
    await bob.seesPictureOf(ada);
    const live = await fetch(`${url}calls/live`, { headers: { authorization: `Bearer ${key}` } });
    assert.equal((await live.json()).value.length, 1);
  } finally {
    await browser.close();
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});
