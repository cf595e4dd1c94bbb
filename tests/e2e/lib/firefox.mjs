// Firefox over WebDriver BiDi, behind the few words of Playwright that the tests use.
import puppeteer from 'puppeteer-core';

const PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  // Lets pages reach a server on 127.0.0.1, by plain addresses instead of mDNS names.
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  // Nothing is fetched from elsewhere.
  'media.gmp-manager.updateEnabled': false,
  'media.gmp-manager.url': '',
  'app.update.auto': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
};

/** Starts a browser of its own. */
export async function launchFirefox() {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    timeout: 60_000,
    protocolTimeout: 120_000,
    extraPrefsFirefox: PREFERENCES,
  });
  return {
    async newContext({ viewport }) {
      const context = await browser.createBrowserContext();
      const own = {
        async newPage() {
          const page = await context.newPage();
          await page.setViewport(viewport);
          return asPlaywright(page, own);
        },
        close: () => context.close(),
      };
      return own;
    },
    close: () => browser.close(),
  };
}

function asPlaywright(page, context) {
  const locator = selector => ({
    count: async () => (await page.$$(selector)).length,
    first: () => locator(selector),
    isVisible: () => page.$eval(selector, element => element.checkVisibility()).catch(() => false),
    innerText: () => page.$eval(selector, element => element.innerText),
    fill: text => page.$eval(selector, (element, value) => {
      element.value = value;
      element.dispatchEvent(new Event('input', { bubbles: true }));
    }, text),
    click: () => page.$eval(selector, element => element.click()),
  });
  return {
    context: () => context,
    addInitScript: (script, argument) => page.evaluateOnNewDocument(script, argument),
    goto: url => page.goto(url),
    evaluate: (script, argument) => page.evaluate(script, argument),
    setViewportSize: viewport => page.setViewport(viewport),
    on(event, listener) {
      page.on(event, message => listener(event === 'console'
        ? { type: () => message.type(), text: () => message.text() }
        : message));
    },
    locator,
  };
}
