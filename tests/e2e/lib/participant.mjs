// One person in a call: a page of the demo with devices of its own colour and tone.
import assert from 'node:assert/strict';

import { pageScript } from './page-script.mjs';
import { sleep, until } from './wait.mjs';

/** Colours that stay apart through any codec, and tones that do not disturb each other. */
export const PEOPLE = [
  { name: 'Rosa', colour: [200, 40, 40], tone: 440, screenColour: [120, 120, 0] },
  { name: 'Gruen', colour: [40, 170, 40], tone: 700, screenColour: [0, 120, 120] },
  { name: 'Azul', colour: [40, 60, 210], tone: 1000, screenColour: [120, 0, 120] },
  { name: 'Oro', colour: [210, 190, 30], tone: 1350, screenColour: [60, 60, 60] },
];

const byTestId = id => `[data-testid=${id}]`;

export class Participant {
  /** Opens a page for person number `index` in `browser`; `url` is the server's or a proxy's. */
  static async open(browser, index, url, options = {}) {
    const { viewport = { width: 1000, height: 700 }, ...others } = options;
    const who = { fps: 15, width: 320, height: 240, ...PEOPLE[index], ...others };
    const context = await browser.newContext({ viewport });
    const page = await context.newPage();
    await page.addInitScript(pageScript, who);
    return new Participant(page, who, url);
  }

  constructor(page, who, url) {
    this.page = page;
    this.name = who.name;
    this.who = who;
    this.url = url;
    this.errors = [];
    page.on('pageerror', error => this.errors.push(String(error)));
    page.on('console', message => {
      if (message.type() === 'error') this.errors.push(message.text());
    });
  }

  /** Joins by the address alone; `query` are further parameters of the page. */
  async autojoin(groupId, more = {}) {
    const query = new URLSearchParams({ name: this.name, call: groupId, autojoin: '1', ...more });
    await this.page.goto(`${this.url}?${query}`);
    return this.connected();
  }

  /** Starts a call with the buttons; gives its group ID. */
  async startCall() {
    await this.page.goto(this.url);
    await this.fill('name-input', this.name);
    await this.press('start-call');
    await this.connected();
    return this.page.evaluate(() => window.convoke.call.groupId);
  }

  /** Joins a call with the buttons. */
  async joinCall(groupId) {
    await this.page.goto(this.url);
    await this.fill('name-input', this.name);
    await this.fill('call-id-input', groupId);
    await this.press('join-call');
    return this.connected();
  }

  async connected() {
    await until(`${this.name} is connected`, async note => {
      const error = await this.errorText();
      if (error) throw new Error(error);
      const state = await this.callState();
      note(state ?? 'no call');
      return state === 'Connected';
    });
  }

  callState() {
    return this.page.evaluate(() => window.convoke?.call?.state ?? null);
  }

  async errorText() {
    const box = this.page.locator(byTestId('error-box'));
    return (await box.count()) > 0 && await box.first().isVisible() ? box.first().innerText() : '';
  }

  async fill(id, text) {
    await this.page.locator(byTestId(id)).fill(text);
  }

  async press(id) {
    await this.page.locator(byTestId(id)).click();
  }

  stats() {
    return this.page.evaluate(() => window.e2e.stats());
  }

  /** Names of the people that this page has remote tiles for. */
  async sees() {
    const tiles = await this.page.evaluate(() => window.e2e.tiles());
    return PEOPLE.map(person => person.name)
      .filter(name => tiles.some(tile => !tile.local && tile.text.includes(name)));
  }

  /** Waits until exactly these people are on the page. */
  async seesExactly(others, timeout = 30_000) {
    const wanted = others.map(other => other.name).sort();
    await until(`${this.name} sees ${wanted.join(', ') || 'nobody'}`, async note => {
      const now = (await this.sees()).sort();
      note(now);
      return now.join() === wanted.join();
    }, { timeout });
  }

  /** Frames decoded so far of what the tile of `name` shows. */
  async framesOf(name, source = 'camera') {
    return this.page.evaluate(async ([name, source]) => {
      const track = window.e2e.trackOf(name, source);
      if (!track) return null;
      const stats = await window.e2e.stats();
      const found = stats.inbound.find(s => s.track === track);
      return found ? { frames: found.framesDecoded, at: found.at } : null;
    }, [name, source]);
  }

  /** Size, layer and so on of the picture of `other`, as page and SDK have it now. */
  pictureOf(other, source = 'camera') {
    return this.page.evaluate(async ([name, source]) => {
      const track = window.e2e.trackOf(name, source);
      const { inbound } = await window.e2e.stats();
      const found = inbound.find(s => s.track === track);
      const type = source === 'camera' ? 'Video' : 'ScreenSharing';
      const participant = window.convoke.call.remoteParticipants.find(p => p.displayName === name);
      const stream = participant?.videoStreams.find(s => s.mediaStreamType === type);
      return {
        height: found?.height ?? 0, frames: found?.framesDecoded ?? 0, codec: found?.codec,
        freezes: found?.freezeCount ?? 0, layer: stream?.layer, reason: stream?.layerReason,
      };
    }, [other.name, source]);
  }

  /** Waits until the picture of `other` comes in one of these heights, and runs. */
  async getsHeight(other, heights, { source = 'camera', timeout = 30_000 } = {}) {
    await until(`${this.name} gets ${other.name} with ${heights.join(' or ')} lines`, async note => {
      const before = await this.pictureOf(other, source);
      note(before);
      if (!heights.includes(before.height)) return false;
      await sleep(500);
      const after = await this.pictureOf(other, source);
      return heights.includes(after.height) && after.frames > before.frames;
    }, { timeout });
  }

  /** What this page sends of its camera: by RID (`-` for the only encoding). */
  async encodings() {
    const { outbound } = await this.stats();
    // The camera's m-line is the second one, for ever.
    const video = outbound.filter(s => s.mid === '1');
    return Object.fromEntries(video.map(s => [s.rid ?? '-', s]));
  }

  /** Bytes of video that this page has sent. */
  async videoBytes() {
    const { outbound } = await this.stats();
    return outbound.filter(s => s.kind === 'video').reduce((sum, s) => sum + (s.bytesSent ?? 0), 0);
  }

  /** The port from which this page's receive transport speaks. */
  async receivePort() {
    const candidate = await until(`${this.name} has a path to receive on`, () => this.page.evaluate(
      async () => (await window.convoke.call.getStats()).receive.localCandidate));
    return Number(candidate.split(':').at(-1));
  }

  /** Waits until the picture of `other` runs and is in its colour. */
  async seesPictureOf(other, { source = 'camera', timeout = 30_000 } = {}) {
    const colour = source === 'screen' ? other.who.screenColour : other.who.colour;
    const look = () => this.page.evaluate(([n, s]) => window.e2e.look(n, s), [other.name, source]);
    await until(`${this.name} sees the ${source} of ${other.name} in its colour`, async note => {
      const first = await look();
      note(first);
      if (!first || first.mean.some((value, c) => Math.abs(value - colour[c]) > 45)) return false;
      await sleep(150);
      const second = await look();
      note([first, second]);
      return second && second.bar !== first.bar;
    }, { timeout });
  }

  /** Waits until the tile of `other` is gone, or shows no running picture. */
  async picturesStopOf(other, { source = 'camera', timeout = 20_000 } = {}) {
    await until(`the ${source} of ${other.name} stops for ${this.name}`, async note => {
      const before = await this.framesOf(other.name, source);
      await sleep(1_500);
      const after = await this.framesOf(other.name, source);
      note([before, after]);
      return !after || (before && after.frames === before.frames);
    }, { timeout });
  }

  /** Sum of the energy of all that was heard so far. */
  async energy() {
    const { inbound } = await this.stats();
    return inbound.filter(s => s.kind === 'audio').reduce((sum, s) => sum + s.energy, 0);
  }

  /** Waits until the tones of exactly these people are heard. */
  async hearsExactly(others, timeout = 30_000) {
    const wanted = others.map(other => other.who.tone);
    await until(`${this.name} hears ${wanted.join(', ')} Hz`, async note => {
      const tones = await this.page.evaluate(() => window.e2e.tones());
      note(tones);
      return tones.length === wanted.length
        && wanted.every(tone => tones.some(heard => Math.abs(heard - tone) < 25));
    }, { timeout });
  }

  async close() {
    await this.page.context().close().catch(() => {});
  }
}

/** Frames a second that `sender` encodes and that each receiver decodes of it, in the same time. */
async function rates(sender, receivers, seconds) {
  const sent = async () => {
    const { outbound } = await sender.stats();
    const video = outbound.filter(s => s.kind === 'video');
    return { frames: video.reduce((sum, s) => sum + s.framesEncoded, 0), at: video[0]?.at };
  };
  const sample = () => Promise.all([sent(), ...receivers.map(r => r.framesOf(sender.name))]);
  const before = await sample();
  await sleep(seconds * 1_000);
  const after = await sample();
  const [source, ...decoded] = before.map((a, i) => {
    const b = after[i];
    return a && b ? (b.frames - a.frames) / ((b.at - a.at) / 1_000) : 0;
  });
  return receivers.map((receiver, i) =>
    ({ from: sender.name, to: receiver.name, source, decoded: decoded[i] }));
}

/** Asserts that everyone decodes everyone's camera at the rate that its sender encodes, ±10%. */
export async function everyoneSeesEveryone(people) {
  for (const person of people) {
    await person.seesExactly(people.filter(other => other !== person));
    for (const other of people) if (other !== person) await person.seesPictureOf(other);
  }
  // On a busy machine the source's own rate wavers, so that a longer time has to tell; what the
  // server loses is lost over any time.
  let wrong;
  for (const seconds of [4, 6, 9, 14]) {
    const all = (await Promise.all(people.map(
      sender => rates(sender, people.filter(other => other !== sender), seconds),
    ))).flat();
    wrong = all.filter(({ source, decoded }) => source < 2 || Math.abs(decoded / source - 1) > 0.1);
    if (wrong.length === 0) return;
  }
  assert.fail(`frames are not decoded at the rate of their source: ${JSON.stringify(wrong)}`);
}

/** Asserts that everyone hears the tone of everyone else and that energy grows. */
export async function everyoneHearsEveryone(people) {
  for (const person of people) {
    const before = await person.energy();
    await person.hearsExactly(people.filter(other => other !== person));
    await until(`energy grows for ${person.name}`, async () => await person.energy() > before);
  }
}
