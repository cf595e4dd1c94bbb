// What is injected into every page before the demo's own scripts: devices of a known colour and
// tone, and a record of the page's peer connections and of its first frames.

/**
 * Runs inside the page. `who` is `{ colour, tone, screenColour, fps, width, height }`, and `busy` for
 * pictures that take all the bits they get, `noDataChannels` for a browser without.
 */
export function pageScript(who) {
  const e2e = { connections: [], firstFrames: [], joinedAt: null, joinSentAt: null };
  Object.defineProperty(window, 'e2e', { value: e2e });

  // --- devices ---
  let audio;
  function picture(colour) {
    const canvas = document.createElement('canvas');
    canvas.width = who.width;
    canvas.height = who.height;
    const draw = canvas.getContext('2d', { alpha: false });
    const stream = canvas.captureStream(0);
    const [track] = stream.getVideoTracks();
    const noise = who.busy ? noisePicture() : undefined;
    let frame = 0;
    const timer = setInterval(() => {
      if (track.readyState === 'ended') return clearInterval(timer);
      frame += 1;
      draw.fillStyle = `rgb(${colour.join(',')})`;
      draw.fillRect(0, 0, who.width, who.height);
      if (noise !== undefined) {
        // Each frame another cut of it, so that no frame tells all of the next.
        const [x, y] = [frame * 37 % 80, frame * 53 % 45];
        draw.globalAlpha = 0.25;
        draw.drawImage(noise, x, y, 80, 45, 0, 0, who.width, who.height);
        draw.globalAlpha = 1;
      }
      // The lower fifth moves, so that a frozen picture is told from a running one.
      draw.fillStyle = '#fff';
      draw.fillRect(frame * 8 % who.width, who.height * 0.8, who.width / 8, who.height * 0.2);
      // In Firefox it is the stream that takes pictures.
      return (track.requestFrame ? track : stream).requestFrame();
    }, 1000 / who.fps);
    return track;
  }
  function noisePicture() {
    const canvas = new OffscreenCanvas(160, 90);
    const draw = canvas.getContext('2d', { alpha: false });
    for (let x = 0; x < 160; x += 1) {
      for (let y = 0; y < 90; y += 1) {
        draw.fillStyle = `hsl(${Math.random() * 360} 60% ${20 + Math.random() * 60}%)`;
        draw.fillRect(x, y, 1, 1);
      }
    }
    return canvas;
  }
  function tone() {
    audio ??= new AudioContext({ sampleRate: 48000 });
    const oscillator = audio.createOscillator();
    const gain = audio.createGain();
    const out = audio.createMediaStreamDestination();
    oscillator.frequency.value = who.tone;
    gain.gain.value = 0.3;
    oscillator.connect(gain).connect(out);
    oscillator.start();
    return out.stream.getAudioTracks()[0];
  }
  const devices = MediaDevices.prototype;
  devices.getUserMedia = async constraints => {
    const stream = new MediaStream();
    if (constraints?.audio) stream.addTrack(tone());
    if (constraints?.video) stream.addTrack(picture(who.colour));
    return stream;
  };
  devices.getDisplayMedia = async () => new MediaStream([picture(who.screenColour)]);

  // --- peer connections ---
  const Original = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Original {
    constructor(...args) {
      super(...args);
      e2e.connections.push(this);
    }
    createDataChannel(...args) {
      if (who.noDataChannels) return { readyState: 'closed', close() {} };
      return super.createDataChannel(...args);
    }
  };

  // --- when `joined` came ---
  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', event => {
        if (typeof event.data === 'string' && event.data.includes('"joined"')
          && JSON.parse(event.data).type === 'joined') e2e.joinedAt = performance.now();
      });
    }
    send(data) {
      if (typeof data === 'string' && data.includes('"join"') && JSON.parse(data).type === 'join') {
        e2e.joinSentAt = performance.now();
      }
      super.send(data);
    }
  };

  // --- when each remote tile first showed a picture ---
  const watch = video => video.requestVideoFrameCallback(at => {
    const tile = video.closest('[data-testid=tile]');
    if (tile?.dataset.local !== 'true') e2e.firstFrames.push({ at, text: tile?.textContent ?? '' });
  });
  new MutationObserver(changes => {
    for (const { addedNodes } of changes) {
      for (const node of addedNodes) {
        if (node instanceof HTMLVideoElement) watch(node);
        else if (node instanceof Element) node.querySelectorAll('video').forEach(watch);
      }
    }
  }).observe(document, { childList: true, subtree: true });

  // --- what the tests ask ---
  e2e.stats = async () => {
    const out = { inbound: [], outbound: [], transports: [] };
    for (const pc of e2e.connections) {
      if (pc.connectionState === 'closed') continue;
      const report = await pc.getStats();
      report.forEach(s => {
        if (s.type === 'inbound-rtp') {
          out.inbound.push({
            kind: s.kind, mid: s.mid, track: s.trackIdentifier, codec: report.get(s.codecId)?.mimeType,
            packetsReceived: s.packetsReceived, packetsLost: s.packetsLost,
            framesDecoded: s.framesDecoded ?? 0, freezeCount: s.freezeCount, height: s.frameHeight,
            energy: s.totalAudioEnergy ?? 0, at: s.timestamp,
          });
        } else if (s.type === 'outbound-rtp') {
          out.outbound.push({
            kind: s.kind, mid: s.mid, codec: report.get(s.codecId)?.mimeType, rid: s.rid,
            height: s.frameHeight, bytesSent: s.bytesSent, scalabilityMode: s.scalabilityMode,
            packetsSent: s.packetsSent, framesEncoded: s.framesEncoded ?? 0, at: s.timestamp,
            limited: s.qualityLimitationReason,
          });
        } else if (s.type === 'transport') {
          out.transports.push({
            dtls: s.dtlsState, srtpCipher: s.srtpCipher, tlsVersion: s.tlsVersion, dtlsCipher: s.dtlsCipher,
          });
        }
      });
    }
    return out;
  };
  const tiles = () => [...document.querySelectorAll('[data-testid=tile]')];
  e2e.tiles = () => tiles().map(tile => ({
    participant: tile.dataset.participant, source: tile.dataset.source,
    local: tile.dataset.local === 'true', text: tile.textContent,
  }));
  const tileOf = (name, source) => tiles().find(tile => tile.dataset.local !== 'true'
    && tile.dataset.source === source && tile.textContent.includes(name));
  /** The track that the tile of `name` shows now. */
  e2e.trackOf = (name, source) =>
    tileOf(name, source)?.querySelector('video')?.srcObject?.getVideoTracks?.()[0]?.id;
  /** Mean colour of the upper part, and where in the lower part the bar is. */
  e2e.look = (name, source) => {
    const video = tileOf(name, source)?.querySelector('video');
    if (!video?.videoWidth) return null;
    const width = 64;
    const height = 40;
    const canvas = new OffscreenCanvas(width, height);
    const draw = canvas.getContext('2d', { willReadFrequently: true });
    draw.drawImage(video, 0, 0, width, height);
    const upper = draw.getImageData(8, 4, width - 16, height * 0.6).data;
    const mean = [0, 1, 2].map(c => {
      let sum = 0;
      for (let i = c; i < upper.length; i += 4) sum += upper[i];
      return Math.round(sum / (upper.length / 4));
    });
    const row = draw.getImageData(0, height - 4, width, 1).data;
    let bar = -1;
    let brightest = 0;
    for (let x = 0; x < width; x += 1) {
      const light = Math.min(row[x * 4], row[x * 4 + 1], row[x * 4 + 2]);
      if (light > brightest) [brightest, bar] = [light, x];
    }
    return { mean, bar, size: [video.videoWidth, video.videoHeight] };
  };
  /** The strongest tone of each remote audio track that sounds, in Hz. */
  e2e.tones = async () => {
    audio ??= new AudioContext({ sampleRate: 48000 });
    if (audio.state !== 'running') await audio.resume();
    const found = [];
    for (const pc of e2e.connections) {
      if (pc.connectionState === 'closed') continue;
      for (const { track } of pc.getReceivers()) {
        if (track?.kind !== 'audio' || track.muted) continue;
        const analyser = audio.createAnalyser();
        analyser.fftSize = 8192;
        analyser.smoothingTimeConstant = 0;
        const source = audio.createMediaStreamSource(new MediaStream([track]));
        source.connect(analyser);
        await new Promise(resolve => { setTimeout(resolve, 400); });
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        source.disconnect();
        let best = 1;
        for (let i = 2; i < bins.length; i += 1) if (bins[i] > bins[best]) best = i;
        if (bins[best] > -70) found.push(Math.round(best * audio.sampleRate / analyser.fftSize));
      }
    }
    return found;
  };
}
