/**
 * How large an element is on the screen, and whether it is there at all.
 *
 * Owns: the observers of one element, and the grace before it counts as not seen.
 * Never: looks at what the element shows; its box is what counts, however a picture fits into it.
 */

/** In physical pixels; zeros when nobody can see it. */
export interface Box {
  readonly width: number;
  readonly height: number;
}

export const NOT_SEEN: Box = { width: 0, height: 0 };

/** A tile that scrolls by, or a tab that is left for a moment, is not worth a change. */
export const HIDE_GRACE_MS = 1_000;

/**
 * Reports the element's box now and whenever it changes; returns the undo. Nothing is ever reported
 * where the browser has no observers.
 */
export function watchBox(element: Element, report: (box: Box) => void): () => void {
  if (typeof ResizeObserver === 'undefined' || typeof IntersectionObserver === 'undefined') {
    return () => undefined;
  }
  const watcher = new BoxWatcher(element, report);
  return () => watcher.close();
}

class BoxWatcher {
  readonly #report: (box: Box) => void;
  readonly #resize: ResizeObserver;
  readonly #intersection: IntersectionObserver;
  /** In CSS pixels; undefined until measured. */
  #size: Box | undefined;
  #intersecting: boolean | undefined;
  #hiding: ReturnType<typeof setTimeout> | undefined;

  constructor(element: Element, report: (box: Box) => void) {
    this.#report = report;
    this.#resize = new ResizeObserver((entries) => {
      const { width, height } = entries.at(-1)?.contentRect ?? NOT_SEEN;
      this.#size = { width, height };
      this.#update();
    });
    this.#intersection = new IntersectionObserver((entries) => {
      this.#intersecting = entries.at(-1)?.isIntersecting;
      this.#update();
    });
    this.#resize.observe(element);
    this.#intersection.observe(element);
    document.addEventListener('visibilitychange', this.#update);
    // Zoom, and a move to a screen of other density, change the ratio of pixels.
    window.addEventListener('resize', this.#update);
  }

  close(): void {
    clearTimeout(this.#hiding);
    this.#resize.disconnect();
    this.#intersection.disconnect();
    document.removeEventListener('visibilitychange', this.#update);
    window.removeEventListener('resize', this.#update);
  }

  readonly #update = (): void => {
    if (this.#size === undefined || this.#intersecting === undefined) return;
    const seen = this.#intersecting && document.visibilityState === 'visible';
    if (seen) {
      clearTimeout(this.#hiding);
      this.#hiding = undefined;
      const ratio = window.devicePixelRatio;
      this.#report({
        width: Math.round(this.#size.width * ratio),
        height: Math.round(this.#size.height * ratio),
      });
    } else {
      this.#hiding ??= setTimeout(() => this.#report(NOT_SEEN), HIDE_GRACE_MS);
    }
  };
}
