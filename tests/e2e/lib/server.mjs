// The real server, as a process of its own with ports and a data directory of its own.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { until } from './wait.mjs';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
export const BINARY = process.env.CONVOKE_BIN ?? join(ROOT, 'target/debug/convoke');

/** An address of this machine that is not 127.0.0.1, if it has one. */
export function ownAddress() {
  const all = Object.values(networkInterfaces()).flat();
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

/**
 * Starts `convoke serve --dev`. `config` overrides keys: `{ 'calls.resume_grace': '3s' }`. `media`
 * is where media goes: Firefox sends nothing to 127.0.0.1 of its own accord; `http` where all else does.
 */
export async function startServer(config = {}, { media = '127.0.0.1', http = '127.0.0.1' } = {}) {
  const dataDir = mkdtempSync(join(tmpdir(), 'convoke-e2e-'));
  const env = { ...process.env };
  for (const [key, value] of Object.entries(config)) {
    env[`CONVOKE__${key.replaceAll('.', '__').toUpperCase()}`] = String(value);
  }
  const child = spawn(BINARY, [
    'serve', '--dev', '--http', `${http}:0`, '--media', `${media}:0`, '--data-dir', dataDir,
  ], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const server = new Server(child, dataDir);
  await until('the server is ready', () => {
    if (server.exit) throw new Error(`the server exited: ${JSON.stringify(server.exit)}\n${server.log}`);
    return /convoke is ready at (http\S+)/.exec(server.stdout);
  }, { timeout: 20_000, every: 20 });
  Object.assign(server, JSON.parse(readFileSync(join(dataDir, 'dev.json'), 'utf8')));
  return server;
}

class Server {
  stdout = '';
  log = '';
  exit = null;

  constructor(child, dataDir) {
    this.child = child;
    this.pid = child.pid;
    this.dataDir = dataDir;
    child.stdout.on('data', data => { this.stdout += data; this.log += data; });
    child.stderr.on('data', data => { this.log += data; });
    child.on('error', error => { this.exit = { error: String(error) }; });
    child.on('exit', (code, signal) => { this.exit = { code, signal, at: Date.now() }; });
  }

  signal(name) {
    this.child.kill(name);
  }

  /** Waits for the process to end by itself. */
  async ended(timeout = 30_000) {
    await until('the server exits', () => this.exit, { timeout });
    return this.exit;
  }

  /** Ends the process whatever it does, and removes its directory. */
  async stop() {
    if (!this.exit) {
      this.child.kill('SIGKILL');
      await until('the server is gone', () => this.exit, { timeout: 10_000, every: 20 });
    }
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** The samples of one metric: the sum over its labels. */
  async metric(name) {
    const text = await (await fetch(this.metricsUrl)).text();
    let sum = null;
    for (const line of text.split('\n')) {
      const match = /^([a-zA-Z_:]+)(?:\{[^}]*\})? (\S+)/.exec(line);
      if (match && match[1] === name) sum = (sum ?? 0) + Number(match[2]);
    }
    return sum;
  }

  /** Resident memory in bytes and processor time in seconds, from /proc. */
  usage() {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      rssBytes: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024,
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
    };
  }
}
