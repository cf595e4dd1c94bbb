// Two and four people in a call: who sees and hears whom, and what the buttons do.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { everyoneHearsEveryone, everyoneSeesEveryone } from '../lib/participant.mjs';
import { onStage } from '../lib/stage.mjs';
import { sleep, until } from '../lib/wait.mjs';

test('two people start and join a call by the buttons, see and hear each other', () => onStage({}, async stage => {
  const rosa = await stage.open(0);
  const gruen = await stage.open(1);
  const groupId = await rosa.startCall();
  assert.match(groupId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  await gruen.joinCall(groupId);

  await everyoneSeesEveryone([rosa, gruen]);
  await everyoneHearsEveryone([rosa, gruen]);

  for (const person of [rosa, gruen]) {
    const { transports } = await person.stats();
    assert.equal(transports.length, 2, 'one transport to send and one to receive');
    for (const transport of transports) {
      assert.equal(transport.dtls, 'connected');
      assert.match(transport.srtpCipher, /^(SRTP_)?AEAD_AES_(256|128)_GCM$/);
      assert.equal(transport.tlsVersion.toUpperCase(), 'FEFD', 'DTLS 1.2');
    }
    assert.deepEqual(person.errors, [], `${person.name}: nothing was complained about in the page`);
  }
}));

test('four people see and hear each other; one leaves', () => onStage({}, async stage => {
  const people = [];
  for (const index of [0, 1, 2, 3]) people.push(await stage.join(index));
  await everyoneSeesEveryone(people);
  await everyoneHearsEveryone(people);

  const [oro] = people.splice(3);
  await oro.press('leave-button');
  for (const person of people) {
    await person.seesExactly(people.filter(other => other !== person), 5_000);
  }
  await everyoneSeesEveryone(people);
}));

test('mute silences for the others, unmute lets them hear again', () => onStage({}, async stage => {
  const [rosa, gruen] = [await stage.join(0), await stage.join(1)];
  await everyoneHearsEveryone([rosa, gruen]);

  await rosa.press('mute-button');
  await until('no more energy comes to Gruen', async note => {
    const before = await gruen.energy();
    await sleep(1_500);
    const grown = await gruen.energy() - before;
    note(grown);
    return grown < 1e-4;
  });
  await rosa.hearsExactly([gruen]);

  await rosa.press('mute-button');
  await gruen.hearsExactly([rosa]);
}));

test('camera off and on again, screen shared and no more', () => onStage({}, async stage => {
  const [rosa, gruen] = [await stage.join(0), await stage.join(1)];
  await everyoneSeesEveryone([rosa, gruen]);

  await rosa.press('camera-button');
  await gruen.picturesStopOf(rosa);
  await rosa.seesPictureOf(gruen);

  await rosa.press('camera-button');
  await gruen.seesPictureOf(rosa);

  await gruen.press('screen-button');
  await rosa.seesPictureOf(gruen, { source: 'screen' });
  await rosa.seesPictureOf(gruen);
  await gruen.seesPictureOf(rosa);

  await gruen.press('screen-button');
  await rosa.picturesStopOf(gruen, { source: 'screen' });
  await rosa.seesPictureOf(gruen);
  await everyoneHearsEveryone([rosa, gruen]);
}));

test('who joins late has the first picture within a second of having joined', () => onStage({}, async stage => {
  const [rosa, gruen] = [await stage.join(0), await stage.join(1)];
  await everyoneSeesEveryone([rosa, gruen]);

  // A busy machine may be late once; a server that makes people wait for a keyframe always is.
  const slowest = [];
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const azul = await stage.join(2);
    await azul.seesPictureOf(rosa);
    await azul.seesPictureOf(gruen);
    const delays = await until('first frames of both', () => azul.page.evaluate(() => {
      const { firstFrames, joinedAt } = window.e2e;
      return firstFrames.length >= 2 && joinedAt !== null && firstFrames.map(({ at }) => at - joinedAt);
    }));
    slowest.push(Math.round(Math.max(...delays)));
    if (slowest.at(-1) < 1_000) return;
    await azul.press('leave-button');
    await azul.close();
  }
  assert.fail(`first frames after ${slowest.join(', ')} ms`);
}));
