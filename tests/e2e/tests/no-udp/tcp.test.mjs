// A network that lets no UDP through: calls go by TCP (ICE-TCP). Run by no-udp.sh, which blocks it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { test } from 'node:test';

import { everyoneHearsEveryone, everyoneSeesEveryone } from '../../lib/participant.mjs';
import { onStage } from '../../lib/stage.mjs';
import { sleep, until } from '../../lib/wait.mjs';

const TCP = { 'media.tcp': '127.0.0.1:0', 'media.workers': 2 };

/** Selected pairs of all transports of a page, as the browser tells. */
const pairs = person => person.page.evaluate(async () => {
  const found = [];
  for (const pc of window.e2e.connections) {
    if (pc.connectionState === 'closed') continue;
    const report = await pc.getStats();
    report.forEach(s => {
      if (s.type !== 'transport' || !s.selectedCandidatePairId) return;
      const pair = report.get(s.selectedCandidatePairId);
      const [local, remote] = [report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)];
      found.push({
        local: local.protocol, remote: remote.protocol, tcpType: local.tcpType, port: remote.port,
        sent: pair.bytesSent, received: pair.bytesReceived,
      });
    });
  }
  return found;
});

/** Datagrams that the rule dropped so far. */
function blocked() {
  const rules = execFileSync('nft', ['list', 'table', 'inet', 'strict'], { encoding: 'utf8' });
  return Number(/counter packets (\d+)/.exec(rules)[1]);
}

test('no UDP passes here', async () => {
  assert.equal(process.env.NO_UDP, '1', 'run this by no-udp.sh');
  const [to, from] = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
  await new Promise(resolve => { to.bind(0, '127.0.0.1', resolve); });
  let heard = 0;
  to.on('message', () => { heard += 1; });
  const before = blocked();
  from.send('hello', to.address().port, '127.0.0.1');
  await until('it is blocked', () => blocked() > before, { timeout: 5_000 });
  await sleep(200);
  assert.equal(heard, 0);
  to.close();
  from.close();
});

test('three people see and hear each other by TCP alone, and one comes back', () => onStage(TCP, async stage => {
  const before = blocked();
  const people = [await stage.join(0), await stage.join(1), await stage.join(2)];
  await everyoneSeesEveryone(people);
  await everyoneHearsEveryone(people);
  assert.ok(blocked() > before, 'UDP was tried, and blocked');

  const ports = new Set();
  for (const person of people) {
    const now = await pairs(person);
    assert.equal(now.length, 2, 'one transport to send and one to receive');
    for (const pair of now) {
      assert.deepEqual([pair.local, pair.remote, pair.tcpType], ['tcp', 'tcp', 'active']);
      assert.ok(pair.sent > 0 && pair.received > 0, JSON.stringify(pair));
      ports.add(pair.port);
    }
    const told = await person.page.evaluate(async () => (await window.convoke.call.getStats()).receive.localCandidate);
    assert.match(told, / tcp /, 'the SDK tells it');
  }
  assert.equal(ports.size, 1, 'one port for all');
  assert.ok(await stage.server.metric('convoke_tcp_connections') >= 6);
  const [more] = await pairs(people[0]);
  await sleep(1_000);
  assert.ok((await pairs(people[0]))[0].sent > more.sent, 'it is what media goes by');

  const azul = people.pop();
  await azul.close();
  await people[0].seesExactly([people[1]]);
  people.push(await stage.join(2));
  await everyoneSeesEveryone(people);
  await until('the connections of who went are gone', async note => {
    const open = await stage.server.metric('convoke_tcp_connections');
    note(open);
    return open === 6;
  });
  assert.equal(await stage.server.metric('convoke_worker_failures_total'), 0);
}));

test('without the TCP port nobody is connected', () => onStage({}, async stage => {
  const rosa = await stage.open(0);
  await rosa.page.goto(`${stage.server.url}?name=Rosa&call=${stage.groupId}&autojoin=1`);
  await sleep(5_000);
  assert.deepEqual(await pairs(rosa), []);
  assert.equal(await stage.server.metric('convoke_tcp_connections'), 0);
}));
