/**
 * Typed events, `on` and `off` as in the ACS calling SDK.
 *
 * Owns: listener lists.
 * Never: lets a listener that throws break the SDK or other listeners.
 */

/** Gets the event; its type is fixed by the event's name. */
export type Listener<T> = (event: T) => void;

/** Base of everything that has events. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** Calls `listener` at each event of that name. Adding it twice has no effect. */
  on<K extends keyof Events>(name: K, listener: Listener<Events[K]>): void {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(name, listeners);
    }
    listeners.add(listener);
  }

  /** Undoes `on`. */
  off<K extends keyof Events>(name: K, listener: Listener<Events[K]>): void {
    this.#listeners.get(name)?.delete(listener);
  }

  /** @internal */
  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        (listener as Listener<Events[K]>)(event);
      } catch (error) {
        // Surfaces as an uncaught error of the app, where it belongs.
        setTimeout(() => {
          throw error;
        }, 0);
      }
    }
  }
}
