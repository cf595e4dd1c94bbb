// Waiting for conditions instead of for time to pass.

export const sleep = ms => new Promise(resolve => { setTimeout(resolve, ms); });

/**
 * Polls `probe` until it gives something truthy, and gives that. Fails with `what` and with what
 * `probe` last said through its `note` callback.
 */
export async function until(what, probe, { timeout = 30_000, every = 100 } = {}) {
  const deadline = Date.now() + timeout;
  let last = '';
  for (;;) {
    let value;
    try {
      value = await probe(note => { last = typeof note === 'string' ? note : JSON.stringify(note); });
    } catch (error) {
      last = String(error);
    }
    if (value) return value;
    if (Date.now() >= deadline) throw new Error(`not within ${timeout} ms: ${what}${last && `\nlast seen: ${last}`}`);
    await sleep(every);
  }
}
