// A server and a browser for one test, taken down whatever happens; on failure their words.
import { randomUUID } from 'node:crypto';

import { launch } from './browser.mjs';
import { launchFirefox } from './firefox.mjs';
import { Participant } from './participant.mjs';
import { startServer } from './server.mjs';

/**
 * Runs `play(stage)` with a server as `startServer(config, options)` makes it, and a browser unless
 * `options.browser` is false. `stage.server`, `stage.join(index, …)`, `stage.open(index, …)`; browsers,
 * proxies and such given to `stage.after` are stopped in the end.
 */
export async function onStage(config, play, options) {
  const stage = new Stage();
  try {
    stage.server = await startServer(config, options);
    if (options?.browser !== false) stage.browser = await stage.launch();
    await play(stage);
  } catch (error) {
    const words = stage.people.map(({ name, errors }) => `${name}: ${errors.slice(-20).join('\n  ')}`);
    const log = stage.server?.log.split('\n').slice(-60).join('\n');
    error.message += `\n--- pages ---\n${words.join('\n')}\n--- server ---\n${log}`;
    throw error;
  } finally {
    for (const undo of stage.undo.reverse()) await Promise.resolve(undo()).catch(() => {});
    await stage.server?.stop();
  }
}

class Stage {
  groupId = randomUUID();
  people = [];
  undo = [];

  after(undo) {
    this.undo.push(undo);
  }

  /** A browser of its own. */
  async launch() {
    const browser = await launch();
    this.after(() => browser.close());
    return browser;
  }

  /** A Firefox of its own. */
  async launchFirefox() {
    const browser = await launchFirefox();
    this.after(() => browser.close());
    return browser;
  }

  /** A page for person `index`, not yet in a call. */
  async open(index, { browser = this.browser, url = this.server.url, ...options } = {}) {
    const person = await Participant.open(browser, index, url, options);
    this.people.push(person);
    return person;
  }

  /** A page for person `index`, in this stage's call. */
  async join(index, { query, ...options } = {}) {
    const person = await this.open(index, options);
    await person.autojoin(this.groupId, query);
    return person;
  }
}
