// A bad network in user space: a UDP relay that slows, delays, drops and queues per flow.
//
// The server is bound to one loopback address and tells clients another one, on which the relay
// listens at the same port. Each client address gets an upstream socket of its own, so that the
// server sees as many clients as there are.
import dgram from 'node:dgram';

/** Where the server is bound, and where it tells clients that it is. */
const BEHIND = '127.0.0.2';
export const IN_FRONT = '127.0.0.1';

/** For `onStage`: a server that can be reached through a relay only. */
export const RELAYED = {
  config: { 'media.advertise': `["${IN_FRONT}"]`, 'media.workers': 1 },
  options: { media: BEHIND },
};

/** What one direction of a flow suffers. Rates in bit/s, times in ms, loss from 0 to 1. */
const GOOD = { rate: Infinity, delay: 0, loss: 0, queue: 300 };

class Link {
  conditions = GOOD;
  forwarded = 0;
  dropped = 0;
  #deliver;
  #busyUntil = 0;
  #waiting = [];
  #timer;

  constructor(deliver) {
    this.#deliver = deliver;
  }

  take(packet) {
    const { rate, delay, loss, queue } = this.conditions;
    const now = performance.now();
    const start = Math.max(now, this.#busyUntil);
    if (Math.random() < loss || start - now > queue) {
      this.dropped += 1;
      return;
    }
    this.#busyUntil = start + packet.length * 8_000 / rate;
    const due = this.#busyUntil + delay;
    if (due <= now + 0.5 && this.#waiting.length === 0) {
      this.#send(packet);
      return;
    }
    this.#waiting.push({ due, packet });
    this.#arm();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#waiting = [];
  }

  #arm() {
    if (this.#timer !== undefined || this.#waiting.length === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = performance.now() + 0.5;
      while (this.#waiting.length > 0 && this.#waiting[0].due <= now) this.#send(this.#waiting.shift().packet);
      this.#arm();
    }, Math.max(0, this.#waiting[0].due - performance.now()));
  }

  #send(packet) {
    this.forwarded += packet.length;
    this.#deliver(packet);
  }
}

/** Relays to the media port of `server`. */
export async function startRelay(server) {
  const port = Number(/ready .*media=\[[\d.]+:(\d+)/.exec(server.log)[1]);
  const front = await bound(port, IN_FRONT);
  const flows = new Map();
  front.on('message', async (packet, { address, port: clientPort }) => {
    const key = `${address}:${clientPort}`;
    let flow = flows.get(key);
    if (flow === undefined) {
      const upstream = bound(0, IN_FRONT);
      flow = {
        upstream,
        up: new Link(data => void upstream.then(socket => socket.send(data, port, BEHIND))),
        down: new Link(data => front.send(data, clientPort, address)),
      };
      flows.set(key, flow);
      (await upstream).on('message', data => flow.down.take(data));
    }
    flow.up.take(packet);
  });
  return {
    /**
     * Sets what comes down (or goes up) for the client that takes this port for its own: as behind
     * a NAT, ICE tells it the one that the server sees.
     */
    async impair(clientPort, conditions, direction = 'down') {
      let found = 0;
      for (const flow of flows.values()) {
        if ((await flow.upstream).address().port !== clientPort) continue;
        flow[direction].conditions = { ...GOOD, ...conditions };
        found += 1;
      }
      if (found === 0) throw new Error(`there is no flow of port ${clientPort}`);
    },
    async stop() {
      front.close();
      for (const { upstream, up, down } of flows.values()) {
        up.stop();
        down.stop();
        (await upstream).close();
      }
    },
  };
}

function bound(port, address) {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 1 << 20, sendBufferSize: 1 << 20 });
    socket.once('error', reject);
    socket.bind(port, address, () => {
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}
