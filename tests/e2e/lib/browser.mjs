// Chromium, started so that pages can reach a server on 127.0.0.1 and never ask for permission.
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const FLAGS = [
  '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-gpu',
  '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  // Host candidates on 127.0.0.1, and plain addresses instead of mDNS names.
  '--allow-loopback-in-peer-connection',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  // Several pages share the machine: none is in the background.
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
];

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const IN_NAMESPACE = fileURLToPath(new URL('./in-namespace.sh', import.meta.url));

/**
 * Starts a browser of its own; in the network namespace `netns`, if one is named. `trusted` is an
 * address that may use devices though it is neither https nor this machine's.
 */
export async function launch({ netns, trusted, args = [] } = {}) {
  const trust = trusted ? [`--unsafely-treat-insecure-origin-as-secure=${new URL(trusted).origin}`] : [];
  return chromium.launch({
    executablePath: netns ? IN_NAMESPACE : CHROMIUM,
    env: { ...process.env, NETNS: netns ?? '', CHROMIUM },
    headless: true,
    chromiumSandbox: false,
    args: [...FLAGS, ...trust, ...args],
  });
}

/** The process id of a browser, to kill it the hard way. */
export async function processId(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  return processInfo.find(process => process.type === 'browser').id;
}
