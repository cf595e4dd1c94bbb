// Where UDP passes, media goes by UDP, also if the server has a TCP port. Without UDP: no-udp/.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { everyoneSeesEveryone } from '../lib/participant.mjs';
import { onStage } from '../lib/stage.mjs';
import { until } from '../lib/wait.mjs';

test('who has UDP does not use the TCP port', () => onStage({ 'media.tcp': '127.0.0.1:0' }, async stage => {
  const people = [await stage.join(0), await stage.join(1)];
  await everyoneSeesEveryone(people);
  for (const person of people) {
    const { send, receive } = await person.page.evaluate(() => window.convoke.call.getStats());
    for (const { localCandidate, remoteCandidate } of [send, receive]) {
      assert.match(localCandidate, / udp /);
      assert.match(remoteCandidate, / udp /);
    }
  }
  // Browsers try it, and let go of it.
  await until('no connection is left', async note => {
    const open = await stage.server.metric('convoke_tcp_connections');
    note(open);
    return open === 0;
  }, { timeout: 60_000 });
}));
