// A TCP relay in front of the server, so that a test can cut a page's connections like a network.
import net from 'node:net';

/** Relays to `target` (a URL); `url` is where pages should go instead. */
export async function startProxy(target) {
  const { hostname, port } = new URL(target);
  const open = new Set();
  let refusing = false;
  const listener = net.createServer(near => {
    if (refusing) {
      near.destroy();
      return;
    }
    const far = net.connect(Number(port), hostname);
    for (const [socket, other] of [[near, far], [far, near]]) {
      open.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => { open.delete(socket); other.destroy(); });
      socket.pipe(other);
    }
  });
  await new Promise(resolve => { listener.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${listener.address().port}/`,
    /** Breaks every connection and lets no new one through until `mend`. */
    cut() {
      refusing = true;
      for (const socket of open) socket.destroy();
    },
    mend() { refusing = false; },
    stop() {
      for (const socket of open) socket.destroy();
      listener.close();
    },
  };
}
