// Who gets which size of a picture: by what is shown, by what the path carries, by what is wanted.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RELAYED, startRelay } from '../lib/impairment.mjs';
import { onStage } from '../lib/stage.mjs';
import { sleep, until } from '../lib/wait.mjs';

const HD = { width: 1280, height: 720 };
/** Pages on which the tile of the other person is about 180 and 720 physical pixels high. */
const SMALL = { width: 680, height: 320 };
const LARGE = { width: 2660, height: 880 };

test('three sizes are sent; each viewer gets the one that it shows', () => onStage({}, async stage => {
  const rosa = await stage.join(0, HD);
  const gruen = await stage.join(1, { viewport: SMALL });
  const azul = await stage.join(2, { viewport: { width: 2660, height: 1640 } });

  await gruen.getsHeight(rosa, [180]);
  await azul.getsHeight(rosa, [720], { timeout: 60_000 });
  const encodings = await rosa.encodings();
  assert.deepEqual(['q', 'f'].map(rid => encodings[rid]?.height), [180, 720]);

  // The small page grows: it gets more; it shrinks again: less.
  await gruen.page.setViewportSize({ width: 2660, height: 1640 });
  await gruen.getsHeight(rosa, [720]);
  await gruen.page.setViewportSize(SMALL);
  await gruen.getsHeight(rosa, [180]);
}));

test('a bottleneck costs resolution, not the picture, and its end brings it back', () => onStage(RELAYED.config, async stage => {
  const relay = await startRelay(stage.server);
  stage.after(() => relay.stop());
  const rosa = await stage.join(0, { ...HD, busy: true });
  const gruen = await stage.join(1, { viewport: LARGE });
  await gruen.getsHeight(rosa, [720], { timeout: 60_000 });
  const calm = await gruen.pictureOf(rosa);
  const port = await gruen.receivePort();

  const narrowedAt = Date.now();
  await relay.impair(port, { rate: 500_000, delay: 20 });
  const lower = await until('a lower layer', async note => {
    const now = await gruen.pictureOf(rosa);
    note(now);
    return now.layer && now.layer.spatial < calm.layer.spatial && now;
  }, { timeout: 10_000, every: 50 });
  const took = Date.now() - narrowedAt;
  assert.ok(took < 3_000, `down after ${took} ms`);
  assert.equal(lower.reason, 'bandwidth');
  await gruen.getsHeight(rosa, [180, 360], { timeout: 10_000 });
  // It stays there, and the picture runs.
  await sleep(4_000);
  const narrow = await gruen.pictureOf(rosa);
  assert.ok(narrow.frames > lower.frames + 20, `the picture runs: ${narrow.frames - lower.frames} frames`);
  assert.ok(narrow.freezes - calm.freezes <= 3, `${narrow.freezes - calm.freezes} freezes`);

  const relievedAt = Date.now();
  await relay.impair(port, { delay: 20 });
  await gruen.getsHeight(rosa, [720], { timeout: 30_000 });
  const back = Date.now() - relievedAt;
  assert.ok(back < 15_000, `back after ${back} ms`);
  const after = await gruen.pictureOf(rosa);
  assert.ok(after.freezes - calm.freezes <= 4, `${after.freezes - calm.freezes} freezes in all`);
}, RELAYED.options));

test('what nobody watches is not sent; the first to watch has a picture soon', () => onStage({}, async stage => {
  const rosa = await stage.join(0, HD);
  const nothing = () => until('no video leaves Rosa', async note => {
    const before = await rosa.videoBytes();
    await sleep(2_000);
    const sent = await rosa.videoBytes() - before;
    note(sent);
    return sent === 0;
  }, { timeout: 30_000 });
  await nothing();

  const gruen = await stage.join(1);
  await gruen.seesPictureOf(rosa);
  const delay = await until('the first frame', () => gruen.page.evaluate(() => {
    const { firstFrames, joinedAt } = window.e2e;
    return firstFrames.length > 0 && firstFrames[0].at - joinedAt;
  }));
  assert.ok(delay < 4_000, `first frame after ${Math.round(delay)} ms`);

  // Nobody can see the tiles: nobody watches, though someone is there.
  const show = visible => gruen.page.evaluate(display => {
    document.querySelector('[data-testid=tiles]').style.display = display;
  }, visible ? '' : 'none');
  await show(false);
  await nothing();
  await show(true);
  await gruen.seesPictureOf(rosa, { timeout: 10_000 });
}));
