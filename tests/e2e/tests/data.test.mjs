// Messages between pages: over data channels, over the WebSocket, and the chat made of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { onStage } from '../lib/stage.mjs';
import { until } from '../lib/wait.mjs';

/** Keeps what comes in on the page. */
async function listen(person) {
  await person.page.evaluate(() => {
    window.messages = [];
    window.convoke.call.data.on('message', ({ from, payload, reliability, topic }) => {
      window.messages.push({ from, text: new TextDecoder().decode(payload), reliability, topic });
    });
  });
}

const send = (person, text, options) => person.page.evaluate(
  ([text, options]) => window.convoke.call.data.send(text, options), [text, options]);
const got = person => person.page.evaluate(() => window.messages);
const idOf = person => person.page.evaluate(() => window.convoke.call.participantId);

for (const [way, options] of [
  ['data channels', {}],
  ['the WebSocket', { noDataChannels: true }],
]) {
  test(`messages over ${way}, to everyone and to one`, () => onStage({}, async stage => {
    const people = [];
    for (const index of [0, 1, 2]) people.push(await stage.join(index, options));
    const [rosa, gruen, azul] = people;
    for (const person of people) await listen(person);
    const channels = await until('the transports have settled', () => rosa.page.evaluate(async () => {
      const { send } = window.convoke.call.peerConnections;
      const report = await send.getStats();
      const open = [...report.values()].filter(s => s.type === 'data-channel' && s.state === 'open');
      return send.connectionState === 'connected' && (open.length === 2 || !send.sctp) && { open: open.length };
    }));
    assert.equal(channels.open, options.noDataChannels ? 0 : 2);

    const from = await idOf(rosa);
    await send(rosa, 'to all', { topic: 'x' });
    await send(rosa, 'to one', { to: [await idOf(azul)] });
    const all = { from, text: 'to all', reliability: 'Durable', topic: 'x' };
    const one = { from, text: 'to one', reliability: 'Durable', topic: null };
    const plain = messages => messages.map(m => ({ ...m, topic: m.topic ?? null }));
    await until('Azul has both', async () => (await got(azul)).length === 2);
    assert.deepEqual(plain(await got(azul)), [all, one]);
    assert.deepEqual(plain(await got(gruen)), [all]);
    assert.deepEqual(await got(rosa), []);

    // Lossy ones may get lost: one of several arrives.
    await until('a lossy one arrives', async () => {
      await send(gruen, 'quick', { reliability: 'Lossy' });
      return (await got(rosa)).some(m => m.text === 'quick' && m.reliability === 'Lossy');
    }, { timeout: 10_000 });
  }));
}

test('the chat shows what others write, and counts it while it is closed', () => onStage({}, async stage => {
  const [rosa, gruen] = [await stage.join(0), await stage.join(1, { noDataChannels: true })];
  await rosa.press('chat-button');
  await rosa.fill('chat-input', 'Hello <b>there</b>');
  await rosa.press('chat-send');
  const unread = () => gruen.page.locator('[data-testid=chat-button]').getAttribute('data-unread');
  await until('Gruen has one unread', async () => await unread() === '1');
  await gruen.press('chat-button');
  assert.equal(await unread(), '');
  const lines = person => person.page.locator('[data-testid=chat-lines]').innerText();
  assert.match(await lines(gruen), /Rosa\s+Hello <b>there<\/b>/);
  await gruen.fill('chat-input', 'Hello yourself');
  await gruen.press('chat-send');
  await until('Rosa reads it', async () => /Gruen\s+Hello yourself/.test(await lines(rosa)));
}));
