/**
 * The microphone level on the start page.
 *
 * Owns: an open microphone and the bar that moves with it.
 * Never: stays open when the page goes into a call.
 */
import { h } from './dom.js';
import { preferences } from './preferences.js';

const BARS = 12;

export class Meter {
  readonly element: HTMLElement;
  #stream: MediaStream | undefined;
  #context: AudioContext | undefined;
  #frame = 0;
  #turn = 0;

  constructor() {
    this.element = h('div', {
      class: 'meter',
      role: 'meter',
      'aria-label': 'Microphone level',
      'aria-valuemin': 0,
      'aria-valuemax': 100,
      'aria-valuenow': 0,
      'data-testid': 'mic-meter',
    });
    for (let bar = 0; bar < BARS; bar += 1) this.element.append(h('i'));
  }

  /** Opens the chosen microphone; rejects as `getUserMedia` does. */
  async start(): Promise<void> {
    this.stop();
    const turn = this.#turn;
    const id = preferences.microphone;
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: id === '' ? true : { deviceId: { ideal: id } },
    });
    if (turn !== this.#turn) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    this.#stream = stream;
    const context = new AudioContext();
    this.#context = context;
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let shown = 0;
    const draw = () => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      // -60 dB to 0 dB over the whole width; falls slower than it rises.
      const level = Math.min(1, Math.max(0, (10 * Math.log10(power + 1e-9) + 60) / 60));
      shown = Math.max(level, shown * 0.92);
      this.#show(shown);
      this.#frame = requestAnimationFrame(draw);
    };
    draw();
  }

  stop(): void {
    this.#turn += 1;
    cancelAnimationFrame(this.#frame);
    void this.#context?.close();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#context = undefined;
    this.#stream = undefined;
    this.#show(0);
  }

  #show(level: number): void {
    const lit = Math.round(level * BARS);
    for (const [index, bar] of [...this.element.children].entries()) {
      bar.classList.toggle('lit', index < lit);
    }
    this.element.setAttribute('aria-valuenow', String(Math.round(level * 100)));
  }
}
