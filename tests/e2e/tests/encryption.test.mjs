// End-to-end encryption: who has the key sees and hears, nobody else does.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ownAddress } from '../lib/server.mjs';
import { onStage } from '../lib/stage.mjs';
import { sleep, until } from '../lib/wait.mjs';

/** Many pages run at once: pictures and windows are small, so that the machine can carry them. */
const SENDER = { width: 960, height: 540, viewport: { width: 420, height: 320 } };
const WATCHER = { viewport: { width: 420, height: 320 } };
const KEY = { e2ee: 'correct horse battery staple' };
const WRONG = { e2ee: 'something else' };

/** Frames that decode of what `other` sends, while packets of it come. */
async function decodedOf(person, other) {
  await until(`packets of ${other.name} come to ${person.name}`, async note => {
    const { inbound } = await person.stats();
    const video = inbound.filter(s => s.kind === 'video' && s.packetsReceived > 50);
    note(inbound.filter(s => s.kind === 'video' && s.packetsReceived > 0));
    return video.length > 0;
  });
  await sleep(3_000);
  return (await person.pictureOf(other)).frames;
}

for (const [name, query] of [
  ['VP8 simulcast', {}],
  ['VP9 with layers', { codec: 'VP9', svc: 'L3T3_KEY' }],
  ['AV1 with layers', { codec: 'AV1', svc: 'L3T3_KEY' }],
]) {
  test(`${name}, encrypted: opens with the key only`, () => onStage({}, async stage => {
    const rosa = await stage.join(0, { ...SENDER, query: { ...KEY, ...query } });
    const gruen = await stage.join(1, { ...WATCHER, query: KEY });
    await gruen.seesPictureOf(rosa);
    await gruen.hearsExactly([rosa]);
    await rosa.seesPictureOf(gruen);
    assert.equal(await gruen.errorText(), '', 'all that comes opens');
    assert.ok(await gruen.page.evaluate(() => window.convoke.call.isEncrypted));
    assert.ok(await gruen.page.evaluate(() =>
      window.convoke.call.remoteParticipants[0].videoStreams[0].isEncrypted));

    // Small and large are chosen by the server, which cannot read a frame.
    await gruen.getsHeight(rosa, [135, 136]);
    await gruen.page.setViewportSize({ width: 2000, height: 700 });
    await gruen.getsHeight(rosa, [540, 544], { timeout: 90_000 });
    await gruen.page.setViewportSize(WATCHER.viewport);

    // Another key: nothing opens, and the page says so.
    const azul = await stage.join(2, { ...WATCHER, query: { ...WRONG, camera: 'off' } });
    const opened = await decodedOf(azul, rosa);
    assert.ok(opened < 10, `${opened} frames decoded with a wrong key`);
    await until('Azul is told', async () => /decrypted/.test(await azul.errorText()));
    const { inbound } = await azul.stats();
    assert.ok(inbound.every(({ energy, kind }) => kind !== 'audio' || energy < 1e-3), 'nothing is heard');
    await gruen.seesPictureOf(rosa);

    // The bytes as the server has them: whoever takes them as they are sees nothing either.
    await azul.press('leave-button');
    const oro = await stage.join(3, { ...WATCHER, query: { camera: 'off' } });
    const raw = await decodedOf(oro, rosa);
    assert.ok(raw < 10, `${raw} frames decoded without decryption`);
    await gruen.seesPictureOf(rosa);
  }));
}

const media = ownAddress();
const firefox = { skip: media === undefined && 'this machine has no address but 127.0.0.1' };

test('Firefox and Chromium understand each other encrypted', firefox, () => onStage({}, async stage => {
  const rosa = await stage.join(0, { query: KEY });
  const gruen = await stage.join(1, { query: KEY, browser: await stage.launchFirefox() });
  await gruen.seesPictureOf(rosa);
  await rosa.seesPictureOf(gruen);
}, { media }));
