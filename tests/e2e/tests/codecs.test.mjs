// Other codecs, layers within one encoding, other browsers.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ownAddress } from '../lib/server.mjs';
import { onStage } from '../lib/stage.mjs';
import { until } from '../lib/wait.mjs';

/** Who sends shows little, and who watches sends little: the machine is busy enough. */
const HD = { width: 1280, height: 720, viewport: { width: 420, height: 320 } };
const viewer = viewport => ({ viewport, query: { camera: 'off' } });
const SMALL = { width: 680, height: 320 };
const LARGE = { width: 2660, height: 1640 };

for (const codec of ['VP9', 'AV1']) {
  test(`${codec} with layers in one encoding: each viewer gets its size`, () => onStage({}, async stage => {
    const rosa = await stage.join(0, { ...HD, query: { codec, svc: 'L3T3_KEY' } });
    const gruen = await stage.join(1, viewer(SMALL));
    const azul = await stage.join(2, viewer(LARGE));
    await azul.getsHeight(rosa, [720], { timeout: 90_000 });
    await gruen.getsHeight(rosa, [180]);
    await gruen.seesPictureOf(rosa);
    await azul.seesPictureOf(rosa);
    const { '-': only } = await rosa.encodings();
    assert.equal(only.codec, `video/${codec}`);
    assert.equal(only.scalabilityMode, 'L3T3_KEY');
    assert.equal((await azul.pictureOf(rosa)).codec, `video/${codec}`);
  }));

  test(`${codec} in three encodings: each viewer gets its size`, () => onStage({}, async stage => {
    const rosa = await stage.join(0, { ...HD, query: { codec } });
    const gruen = await stage.join(1, viewer(SMALL));
    const azul = await stage.join(2, viewer(LARGE));
    await azul.getsHeight(rosa, [720], { timeout: 90_000 });
    await gruen.getsHeight(rosa, [180]);
    const encodings = await rosa.encodings();
    assert.equal(encodings.q.codec, `video/${codec}`);
    assert.equal(encodings.f.codec, `video/${codec}`);
  }));
}

// Firefox sends nothing to 127.0.0.1 of its own accord.
const media = ownAddress();
const firefox = { skip: media === undefined && 'this machine has no address but 127.0.0.1' };

test('Firefox and Chromium in one call', firefox, () => onStage({}, async stage => {
  const browser = await stage.launchFirefox();
  const rosa = await stage.join(0, { ...HD, browser });
  const gruen = await stage.join(1, HD);
  await gruen.seesPictureOf(rosa);
  await rosa.seesPictureOf(gruen);

  // Both send several sizes, and both can be had small.
  await gruen.page.setViewportSize(SMALL);
  await gruen.getsHeight(rosa, [180]);
  await rosa.page.setViewportSize(SMALL);
  await rosa.getsHeight(gruen, [180]);
  await gruen.page.setViewportSize({ width: 2660, height: 880 });
  // Firefox takes its time with the largest one.
  await gruen.getsHeight(rosa, [360, 720], { timeout: 90_000 });
  await until('Rosa sends more than one size', async note => {
    const encodings = Object.values(await rosa.encodings());
    note(encodings);
    return encodings.filter(({ framesEncoded }) => framesEncoded > 0).length >= 2;
  });
}, { media }));
