// Browsers that die, sockets that break, servers that are told to stop.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { processId } from '../lib/browser.mjs';
import { everyoneHearsEveryone, everyoneSeesEveryone } from '../lib/participant.mjs';
import { startProxy } from '../lib/proxy.mjs';
import { onStage } from '../lib/stage.mjs';
import { sleep, until } from '../lib/wait.mjs';

test('a killed browser is gone from the rosters within the grace time', () => onStage({ 'calls.resume_grace': '3s' }, async stage => {
  const [rosa, gruen] = [await stage.join(0), await stage.join(1)];
  const victim = await stage.launch();
  const azul = await stage.join(2, { browser: victim });
  await everyoneSeesEveryone([rosa, gruen, azul]);

  const killedAt = Date.now();
  process.kill(await processId(victim), 'SIGKILL');
  await rosa.seesExactly([gruen], 12_000);
  await gruen.seesExactly([rosa], 2_000);
  // The kernel closes the socket at once, so the grace time is all that passes.
  const gone = Date.now() - killedAt;
  assert.ok(gone >= 2_500, `not thrown out before the grace time: ${gone} ms`);
  assert.ok(gone < 6_000, `gone after ${gone} ms`);
  await everyoneSeesEveryone([rosa, gruen]);
}));

test('a WebSocket cut in mid-call: media goes on, the roster heals', () => onStage({ 'calls.resume_grace': '20s' }, async stage => {
  const proxy = await startProxy(stage.server.url);
  stage.after(() => proxy.stop());
  const rosa = await stage.join(0, { url: proxy.url });
  const gruen = await stage.join(1);
  await everyoneSeesEveryone([rosa, gruen]);
  const before = await rosa.page.evaluate(() => window.convoke.call.participantId ?? null);

  proxy.cut();
  await until('Rosa is told', () => rosa.page.locator('[data-testid=connection-banner]').isVisible());
  const [a, b] = await Promise.all([rosa.framesOf('Gruen'), gruen.framesOf('Rosa')]);
  // Someone comes whom Rosa cannot be told of.
  const azul = await stage.join(2);
  await sleep(3_000);
  const [c, d] = await Promise.all([rosa.framesOf('Gruen'), gruen.framesOf('Rosa')]);
  assert.ok(c.frames - a.frames >= 20, `Rosa goes on seeing Gruen: ${c.frames - a.frames} frames in 3 s`);
  assert.ok(d.frames - b.frames >= 20, `Gruen goes on seeing Rosa: ${d.frames - b.frames} frames in 3 s`);
  assert.deepEqual(await gruen.sees(), ['Rosa', 'Azul']);

  proxy.mend();
  await rosa.seesExactly([gruen, azul]);
  assert.equal(await rosa.page.evaluate(() => window.convoke.call.participantId ?? null), before);
  await until('the banner goes', async () => !await rosa.page.locator('[data-testid=connection-banner]').isVisible());
  await everyoneSeesEveryone([rosa, gruen, azul]);
  await everyoneHearsEveryone([rosa, gruen, azul]);
}));

test('SIGTERM drains: joins are refused, the call goes on, the deadline ends it', () => onStage({ 'shutdown.drain': '12s' }, async stage => {
  const [rosa, gruen] = [await stage.join(0), await stage.join(1)];
  const azul = await stage.open(2);
  await azul.page.goto(stage.server.url);
  await everyoneSeesEveryone([rosa, gruen]);
  assert.equal((await fetch(new URL('readyz', stage.server.url))).status, 200);

  const askedAt = Date.now();
  stage.server.signal('SIGTERM');
  await until('not ready any more', async () =>
    (await fetch(new URL('readyz', stage.server.url))).status === 503);
  assert.equal((await fetch(new URL('healthz', stage.server.url))).status, 200, 'draining is healthy');

  await azul.fill('name-input', azul.name);
  await azul.fill('call-id-input', stage.groupId);
  await azul.press('join-call');
  const words = await until('Azul is told why', () => azul.errorText());
  assert.match(words, /drain|shutting down|stopping/i);
  await rosa.seesPictureOf(gruen, { timeout: 3_000 });
  await gruen.seesPictureOf(rosa, { timeout: 3_000 });
  assert.equal(stage.server.exit, null, 'still running');

  const exit = await stage.server.ended(30_000);
  assert.equal(exit.code, 0);
  const took = exit.at - askedAt;
  assert.ok(took >= 11_500 && took < 20_000, `exits at the deadline: ${took} ms`);
  for (const person of [rosa, gruen]) {
    await until(`${person.name} is told`, async () => await person.callState() !== 'Connected');
  }
}));
