import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// The demo is served at `/` by the server itself, so in development the server's own paths are
// passed on to one that runs on its default port.
const server = process.env.CONVOKE_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  root: 'demo',
  resolve: {
    alias: { '@convoke/client': fileURLToPath(new URL('./src/index.ts', import.meta.url)) },
  },
  build: {
    outDir: '../dist-demo',
    emptyOutDir: true,
    target: 'es2022',
    // No inline script or style may appear: the page is served under a strict policy.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: ['index.html', 'admin.html'].map((page) =>
        fileURLToPath(new URL(`./demo/${page}`, import.meta.url)),
      ),
    },
  },
  server: {
    host: '127.0.0.1',
    proxy: {
      '/agent': { target: server, ws: true },
      '/dev': { target: server },
      '/calls': { target: server },
      '/events': { target: server },
    },
  },
  test: {
    root: '.',
    include: ['tests/**/*.test.ts'],
    environment: 'node',
  },
});
