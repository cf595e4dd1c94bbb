import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Box, HIDE_GRACE_MS, watchBox } from '../src/remote/elementBox.js';

/** An observer that tests speak for. */
class FakeObserver {
  static all: FakeObserver[] = [];
  connected = true;
  readonly #callback: (entries: object[]) => void;

  constructor(callback: (entries: object[]) => void) {
    this.#callback = callback;
    FakeObserver.all.push(this);
  }

  observe(): void {}

  disconnect(): void {
    this.connected = false;
  }

  say(entry: object): void {
    this.#callback([entry]);
  }
}

class FakePage extends EventTarget {
  visibilityState = 'visible';
  devicePixelRatio = 2;
}

let page: FakePage;

beforeEach(() => {
  vi.useFakeTimers();
  FakeObserver.all = [];
  page = new FakePage();
  vi.stubGlobal('ResizeObserver', FakeObserver);
  vi.stubGlobal('IntersectionObserver', FakeObserver);
  vi.stubGlobal('document', page);
  vi.stubGlobal('window', page);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function watched() {
  const boxes: Box[] = [];
  const stop = watchBox({} as Element, (box) => boxes.push(box));
  const [resize, intersection] = FakeObserver.all;
  const size = (width: number, height: number) => resize?.say({ contentRect: { width, height } });
  const seen = (isIntersecting: boolean) => intersection?.say({ isIntersecting });
  return { boxes, stop, size, seen };
}

describe('an element', () => {
  it('is measured in physical pixels, once both observers have spoken', () => {
    const { boxes, size, seen } = watched();
    size(160, 90);
    expect(boxes).toEqual([]);
    seen(true);
    page.devicePixelRatio = 1.5;
    page.dispatchEvent(new Event('resize'));
    expect(boxes).toEqual([
      { width: 320, height: 180 },
      { width: 240, height: 135 },
    ]);
  });

  it('is not seen after a grace, whether it scrolled out or the tab is hidden', () => {
    const { boxes, size, seen } = watched();
    size(160, 90);
    seen(false);
    vi.advanceTimersByTime(HIDE_GRACE_MS - 1);
    expect(boxes).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(boxes).toEqual([{ width: 0, height: 0 }]);
    seen(true);
    page.visibilityState = 'hidden';
    page.dispatchEvent(new Event('visibilitychange'));
    vi.advanceTimersByTime(HIDE_GRACE_MS);
    expect(boxes.at(-1)).toEqual({ width: 0, height: 0 });
  });

  it('may come back within the grace as if nothing had been', () => {
    const { boxes, size, seen } = watched();
    size(160, 90);
    seen(true);
    seen(false);
    vi.advanceTimersByTime(HIDE_GRACE_MS / 2);
    seen(true);
    vi.advanceTimersByTime(HIDE_GRACE_MS * 2);
    expect(boxes.every(({ width }) => width === 320)).toBe(true);
  });

  it('is watched no more when it is let go', () => {
    const { boxes, stop, size, seen } = watched();
    size(160, 90);
    seen(false);
    stop();
    vi.advanceTimersByTime(HIDE_GRACE_MS * 2);
    expect(boxes).toEqual([]);
    expect(FakeObserver.all.every(({ connected }) => !connected)).toBe(true);
  });
});
