// Ringing, the lobby, roles and moderation, between pages.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';

import { everyoneHearsEveryone, everyoneSeesEveryone } from '../lib/participant.mjs';
import { onStage } from '../lib/stage.mjs';
import { sleep, until } from '../lib/wait.mjs';

const visible = (person, id) => person.page.locator(`[data-testid=${id}]`).first().isVisible();

/** A page that waits for calls under this identity. */
async function reachable(person, identity) {
  await person.page.goto(`${person.url}?${new URLSearchParams({ name: person.name, identity })}`);
  await until(`${person.name} can be called`, () => visible(person, 'ring-button'));
}

/** Waits until the call of `person` has ended, and gives its reason. */
async function endOf(person) {
  return until(`the call of ${person.name} ends`, () => person.page.evaluate(() => {
    const { call } = window.convoke;
    return call?.state === 'Disconnected' && { ...call.callEndReason };
  }));
}

test('one rings, the other accepts: they see and hear each other', () => onStage({}, async stage => {
  const [rosa, gruen] = [await stage.open(0), await stage.open(1)];
  await reachable(gruen, 'gruen');
  await reachable(rosa, 'rosa');
  await rosa.fill('callee-input', 'gruen');
  await rosa.press('ring-button');
  await until('it rings', () => visible(gruen, 'incoming-call'));
  assert.match(await gruen.page.locator('[data-testid=incoming-call]').innerText(), /Rosa is calling/);
  await gruen.press('accept-call');
  for (const person of [rosa, gruen]) {
    await person.connected();
    await person.press('camera-button');
  }
  await everyoneSeesEveryone([rosa, gruen]);
  await everyoneHearsEveryone([rosa, gruen]);
  const ringing = await rosa.page.evaluate(() => window.convoke.call.ringing.map(t => t.state));
  assert.deepEqual(ringing, ['accepted']);
}));

test('declining ends the caller\'s call with 603', () => onStage({}, async stage => {
  const [rosa, gruen] = [await stage.open(0), await stage.open(1)];
  await reachable(gruen, 'gruen');
  await reachable(rosa, 'rosa');
  await rosa.fill('callee-input', 'gruen');
  await rosa.press('ring-button');
  await until('it rings', () => visible(gruen, 'incoming-call'));
  await gruen.press('decline-call');
  assert.equal((await endOf(rosa)).code, 603);
}));

test('a guest waits in the lobby and is let in', () => onStage({}, async stage => {
  const [rosa, gruen] = [await stage.open(0), await stage.open(1)];
  await rosa.autojoin(stage.groupId, { lobby: 'guests' });
  const query = { name: gruen.name, call: stage.groupId, autojoin: '1', guest: '1' };
  await gruen.page.goto(`${gruen.url}?${new URLSearchParams(query)}`);
  await until('Gruen waits', async () => await gruen.callState() === 'InLobby');
  await until('the lobby is shown', () => visible(gruen, 'lobby-page'));
  await sleep(1_000);
  await rosa.seesExactly([]);
  assert.deepEqual(await gruen.page.evaluate(() => window.convoke.call.remoteParticipants.length), 0);

  await rosa.press('people-button');
  await until('Rosa sees who waits', () => visible(rosa, 'admit'));
  await rosa.press('admit');
  await gruen.connected();
  await rosa.page.keyboard.press('Escape');
  await everyoneSeesEveryone([rosa, gruen]);
  await everyoneHearsEveryone([rosa, gruen]);
}));

test('a presenter mutes, changes a role and removes; the rest goes on', () => onStage({}, async stage => {
  const [rosa, gruen, azul] = [await stage.open(0), await stage.open(1), await stage.open(2)];
  await rosa.autojoin(stage.groupId, { role: 'Presenter' });
  await gruen.autojoin(stage.groupId);
  await azul.autojoin(stage.groupId);
  await everyoneHearsEveryone([rosa, gruen, azul]);
  const act = (person, other, what) => person.page.evaluate(async ([name, what]) => {
    const { call } = window.convoke;
    const who = call.remoteParticipants.find(p => p.displayName === name);
    if (what === 'mute') await call.muteParticipants(who);
    else if (what === 'remove') await call.removeParticipant(who);
    else await call.setRole(who, what);
  }, [other.name, what]);
  const refused = await gruen.page.evaluate(() =>
    window.convoke.call.muteAllRemoteParticipants().catch(error => error.code));
  assert.equal(refused, 'notAllowed');

  await act(rosa, gruen, 'mute');
  await rosa.hearsExactly([azul]);
  assert.equal(await gruen.page.evaluate(() => window.convoke.call.isMuted), true);
  await gruen.press('mute-button');
  await rosa.hearsExactly([gruen, azul]);

  await act(rosa, gruen, 'Consumer');
  await rosa.picturesStopOf(gruen);
  await rosa.hearsExactly([azul]);
  await gruen.hearsExactly([rosa, azul]);
  assert.equal(await gruen.page.evaluate(() => window.convoke.call.role), 'Consumer');
  await act(rosa, gruen, 'Attendee');
  await until('Gruen may speak', () => gruen.page.evaluate(
    () => window.convoke.call.capabilities.unmuteMic.isPresent));
  await gruen.press('mute-button');
  await gruen.press('camera-button');
  await rosa.hearsExactly([gruen, azul]);
  await rosa.seesPictureOf(gruen);

  await act(rosa, azul, 'remove');
  const { code, subCode } = await endOf(azul);
  assert.deepEqual([code, subCode], [0, 5300]);
  await rosa.seesExactly([gruen]);
  await everyoneSeesEveryone([rosa, gruen]);
}));

/** A token of the development server's key that lives so long. */
function mint({ kid, secretBase64 }, identity, seconds) {
  const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Date.now() / 1_000 + seconds;
  const text = `${part({ alg: 'HS256', kid })}.${part({ sub: identity, scp: ['voip'], exp })}`;
  const key = Buffer.from(secretBase64, 'base64');
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

/** Joins with tokens that live for some seconds; `renews` says whether there are more of them. */
function joinFor(person, groupId, tokens, renews) {
  return person.page.evaluate(async ([groupId, tokens, renews]) => {
    const given = [...tokens];
    const source = renews ? { getToken: async () => ({ token: given.shift() }) } : given[0];
    const agent = await window.convoke.client.createCallAgent(source);
    window.convoke.call = agent.join({ groupId }, { audioOptions: { muted: true } });
  }, [groupId, tokens, renews]);
}

test('a call ends when its token expires, not before, unless the SDK renews it', () => onStage(
  { 'tokens.leeway': '0s' },
  async stage => {
    const [rosa, gruen] = [await stage.open(0), await stage.open(1)];
    for (const person of [rosa, gruen]) await person.page.goto(person.url);
    const key = stage.server.tokenKey;
    const fresh = mint(key, 'rosa', 3_600);
    await joinFor(rosa, stage.groupId, [mint(key, 'rosa', 8), fresh], true);
    const began = Date.now();
    await joinFor(gruen, stage.groupId, [mint(key, 'gruen', 8)], false);
    for (const person of [rosa, gruen]) await person.connected();
    const { code, subCode } = await endOf(gruen);
    assert.deepEqual([code, subCode], [495, 4507]);
    assert.ok(Date.now() - began >= 7_900, 'not before the token expires');
    await sleep(1_500);
    assert.equal(await rosa.callState(), 'Connected');
  },
));
