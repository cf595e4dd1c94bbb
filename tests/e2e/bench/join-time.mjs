// Measures 30 joins in Chromium: from the `join` message to the first decoded frame of the one who
// is in the call already, and what the server uses meanwhile. Prints a table; asserts nothing.
//
//   node bench/join-time.mjs [joins]        CONVOKE_BIN names the server (take a release build)
import { onStage } from '../lib/stage.mjs';
import { sleep, until } from '../lib/wait.mjs';

const JOINS = Number(process.argv[2] ?? 30);

function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)];
}

/** Milliseconds from sending `join` to `joined`, and to the first frame. */
async function measureJoin(stage) {
  const person = await stage.open(1);
  await person.autojoin(stage.groupId);
  const times = await until('the first frame', () => person.page.evaluate(() => {
    const { firstFrames, joinSentAt, joinedAt } = window.e2e;
    return firstFrames.length > 0
      && { joined: joinedAt - joinSentAt, frame: firstFrames[0].at - joinSentAt };
  }), { every: 50 });
  await person.press('leave-button');
  await person.close();
  stage.people.pop();
  return times;
}

const mib = bytes => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const ms = value => `${Math.round(value)} ms`;
const rows = [];

await onStage({}, async stage => {
  await sleep(1_000);
  rows.push(['memory of the server, idle', mib(stage.server.usage().rssBytes)]);
  const host = await stage.join(0);
  const joined = [];
  const frames = [];
  for (let i = 0; i < JOINS; i += 1) {
    const times = await measureJoin(stage);
    joined.push(times.joined);
    frames.push(times.frame);
    await host.seesExactly([]);
  }
  for (const [what, values] of [['joined', joined], ['first decoded frame', frames]]) {
    rows.push([`join to ${what}, p50 of ${JOINS}`, ms(percentile(values, 0.5))]);
    rows.push([`join to ${what}, p95 of ${JOINS}`, ms(percentile(values, 0.95))]);
  }

  const guest = await stage.join(1);
  await guest.seesPictureOf(host);
  const count = () => stage.server.metric('convoke_rtp_packets_forwarded_total');
  const [packets, usage] = [await count(), stage.server.usage()];
  await sleep(10_000);
  const forwarded = await count() - packets;
  const cpu = stage.server.usage().cpuSeconds - usage.cpuSeconds;
  rows.push(['memory of the server, 2 participants', mib(stage.server.usage().rssBytes)]);
  rows.push(['packets forwarded a second, 2 participants', (forwarded / 10).toFixed(0)]);
  rows.push(['processor time a forwarded packet', `${(cpu / forwarded * 1e6).toFixed(1)} us`]);
});

const width = Math.max(...rows.map(([what]) => what.length));
process.stdout.write(`${rows.map(([what, value]) => `${what.padEnd(width)}  ${value}`).join('\n')}\n`);
