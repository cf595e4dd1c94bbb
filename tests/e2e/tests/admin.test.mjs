// The operator's page, over a running call.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { everyoneSeesEveryone } from '../lib/participant.mjs';
import { onStage } from '../lib/stage.mjs';
import { until } from '../lib/wait.mjs';

const byId = id => `[data-testid=${id}]`;

/** The operator's page of a server in a window of this size; not yet with a key. */
async function openAdmin(stage, viewport) {
  const context = await stage.browser.newContext({ viewport });
  const page = await context.newPage();
  page.on('pageerror', error => assert.fail(`the page failed: ${error}`));
  await page.goto(new URL('admin', stage.server.url).href);
  return page;
}

async function enter(page, key) {
  await page.locator(byId('admin-key')).fill(key);
  await page.locator(byId('admin-open')).click();
}

const person = (page, name) => page.locator(byId('admin-person'))
  .filter({ has: page.locator('.admin-name', { hasText: name }) });

/** Nothing is wider than the window, and every button that shows is large enough for a finger. */
async function fitsPhone(page) {
  const { width, wide, small } = await page.evaluate(() => ({
    width: innerWidth,
    wide: document.documentElement.scrollWidth,
    small: [...document.querySelectorAll('button, summary')]
      .map(one => ({ text: one.textContent || one.title, box: one.getBoundingClientRect() }))
      .filter(({ box }) => box.height > 0 && (box.height < 40 || box.width < 40))
      .map(({ text, box }) => `${text}: ${box.width}x${box.height}`),
  }));
  assert.ok(wide <= width, `${wide} pixels wide in ${width}`);
  assert.deepEqual(small, []);
}

async function picture(page, name) {
  if (process.env.SCREENSHOTS) {
    await page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png` });
  }
}

async function endOf(participant) {
  return until(`the call of ${participant.name} ends`, () => participant.page.evaluate(() => {
    const { call } = window.convoke;
    return call?.state === 'Disconnected' && { ...call.callEndReason };
  }));
}

test('the operator sees who gets what and why, mutes, removes and ends', () => onStage({}, async stage => {
  const [rosa, gruen] = [await stage.join(0), await stage.join(1)];
  await everyoneSeesEveryone([rosa, gruen]);
  const page = await openAdmin(stage, { width: 1280, height: 800 });
  await enter(page, stage.server.accessKey);
  const call = page.locator(byId('admin-call'));
  await until('the call is shown', async () => await call.count() === 1);
  await until('both are shown', async () => await page.locator(byId('admin-person')).count() === 2);
  assert.match(await call.innerText(), new RegExp(`groups/${stage.groupId}`));
  assert.match(await person(page, 'Rosa').innerText(), /in the call since .*microphone, camera/);

  await person(page, 'Rosa').locator(byId('show-layers')).click();
  const slots = person(page, 'Rosa').locator(byId('admin-slot'));
  await until('layers are shown with their reason', async note => {
    const texts = await slots.allInnerTexts();
    note(texts);
    return texts.some(text => /← Gruen: active S\dT\d \d+×\d+ \(.+\), \d+ kbit\/s/.test(text));
  });
  await picture(page, 'admin-1280');

  await until('events are live', async () =>
    await page.locator(byId('events-state')).innerText() === 'live');
  const azul = await stage.join(2);
  await until('the event arrives', async () => {
    const events = await page.locator(byId('admin-event')).allInnerTexts();
    return events.some(text => text.includes('call.participantJoined'));
  });
  await until('Azul is shown', async () => await person(page, 'Azul').count() === 1);

  await person(page, 'Gruen').locator(byId('mute-person')).click();
  await until('Gruen is muted', () => gruen.page.evaluate(() => window.convoke.call.isMuted));
  await until('it is shown', async () => (await person(page, 'Gruen').innerText()).includes('Muted'));
  const remove = person(page, 'Azul').locator(byId('remove-person'));
  await remove.click();
  assert.equal(await remove.innerText(), 'Press again');
  await remove.click();
  assert.equal((await endOf(azul)).subCode, 5300);
  await until('Azul is gone', async () => await person(page, 'Azul').count() === 0);

  const end = call.locator(byId('end-call'));
  await end.click();
  await end.click();
  for (const one of [rosa, gruen]) assert.equal((await endOf(one)).subCode, 5000);
  await until('no call is left', () => page.locator(byId('no-calls')).isVisible());
  const events = await page.locator(byId('admin-event')).allInnerTexts();
  assert.ok(events[0].includes('call.ended'), events.join('\n'));
}));

test('a wrong key is refused in words, the right one stays in the tab, all on a phone', () => onStage({}, async stage => {
  const rosa = await stage.join(0, { viewport: { width: 375, height: 720 } });
  await rosa.connected();
  await fitsPhone(rosa.page);
  await picture(rosa.page, 'call-375');
  await stage.join(1);
  const page = await openAdmin(stage, { width: 375, height: 720 });
  await enter(page, 'd3Jvbmcga2V5');
  await until('it is refused', async () => (await page.locator(byId('error-box')).count()) > 0);
  assert.match(await page.locator(byId('error-box')).innerText(), /not one of this server/);
  await fitsPhone(page);
  await picture(page, 'admin-key-375');

  await enter(page, stage.server.accessKey);
  await until('both are shown', async () => await page.locator(byId('admin-person')).count() === 2);
  for (const button of await page.locator(byId('show-layers')).all()) await button.click();
  await until('layers are shown', async () => await page.locator(byId('admin-slot')).count() > 1);
  await fitsPhone(page);
  await picture(page, 'admin-375');
  const kept = await page.evaluate(() => [sessionStorage.length, JSON.stringify(localStorage), location.href]);
  assert.equal(kept[0], 1);
  for (const place of kept.slice(1)) assert.ok(!place.includes(stage.server.accessKey));
  await page.reload();
  await until('the tab still has the key', async () => await page.locator(byId('admin-call')).count() === 1);
  await page.getByText('Forget the key').click();
  await until('it is forgotten', () => page.locator(byId('admin-key')).isVisible());
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
}));
