// Writes the offers of real browsers into the corpus:
//   npm i playwright-core puppeteer-core && node browser-offers.mjs
// Needs Debian's chromium and firefox-esr. Host candidates are hidden behind mDNS names.
import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';
import { writeFileSync } from 'node:fs';

const [SEND_WITH_TRACK, RECEIVE] = [5, 2];

const OFFERS = `async () => {
  const offers = {};
  const offer = async (name, setup, gather = false) => {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    await setup(pc);
    const gathered = new Promise(done => {
      setTimeout(done, 3000);
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
    });
    const first = await pc.createOffer();
    await pc.setLocalDescription(first);
    if (gather) await gathered;
    offers[name] = gather ? pc.localDescription.sdp : first.sdp;
    pc.close();
  };
  const canvas = document.createElement('canvas');
  canvas.getContext('2d');
  const video = canvas.captureStream(5).getVideoTracks()[0];
  const audio = new AudioContext().createMediaStreamDestination().stream.getAudioTracks()[0];
  const sendonly = { direction: 'sendonly' };
  const rids = [{ rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' }];
  await offer('send', async pc => {
    pc.addTransceiver(audio, sendonly);
    pc.addTransceiver(video, sendonly);
  });
  await offer('send-simulcast', async pc => {
    pc.addTransceiver(audio, sendonly);
    pc.addTransceiver(video, { direction: 'sendonly', sendEncodings: rids });
  });
  await offer('receive', async pc => {
    for (const kind of ['audio', 'audio', 'video', 'video', 'video']) {
      pc.addTransceiver(kind, { direction: 'recvonly' });
    }
  });
  await offer('receive-data', async pc => {
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.createDataChannel('d');
  });
  await offer('send-gathered', async pc => {
    pc.addTransceiver(audio);
    pc.addTransceiver(video);
  }, true);
  return offers;
}`;

async function save(name, browser) {
  const page = await browser.newPage();
  for (const [offer, sdp] of Object.entries(await page.evaluate(`(${OFFERS})()`))) {
    const flags = offer.startsWith('send') ? SEND_WITH_TRACK : RECEIVE;
    writeFileSync(`corpus/sdp_offer/good-${name}-${offer}`, Buffer.concat([Buffer.from([flags]), Buffer.from(sdp)]));
  }
  await browser.close();
}

await save('chromium', await chromium.launch({
  executablePath: '/usr/bin/chromium',
  chromiumSandbox: false,
  args: ['--no-first-run', '--disable-background-networking', '--disable-component-update'],
}));
await save('firefox', await puppeteer.launch({
  browser: 'firefox',
  executablePath: '/usr/bin/firefox-esr',
  extraPrefsFirefox: { 'media.gmp-manager.updateEnabled': false, 'app.update.auto': false },
}));
