// Starts the real server on loopback, for one test file.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const BINARY = process.env.CONVOKE_BIN;

/** `{ connectionString, url, get, stop }` of a server in development mode. */
export async function startServer() {
  if (!BINARY) throw new Error('CONVOKE_BIN must name the server; `make acs` sets it');
  const folder = await mkdtemp(join(tmpdir(), 'convoke-acs-'));
  const args = ['serve', '--dev', '--http', '127.0.0.1:0', '--media', '127.0.0.1:0'];
  const child = spawn(BINARY, [...args, '--data-dir', folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await Promise.race([
    ready(child),
    exited.then((code) => {
      throw new Error(`the server ended with ${code} before it was ready`);
    }),
  ]);
  const { url, connectionString } = JSON.parse(await readFile(join(folder, 'dev.json'), 'utf8'));
  const key = connectionString.split('accesskey=')[1];
  const get = async (path) => {
    const reply = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}` } });
    return reply.json();
  };
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  return { url, connectionString, get, stop };
}

async function ready(child) {
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('convoke is ready')) return;
  }
}
