/**
 * Server-sent events out of chunks of text, as a fetched body brings them: `EventSource` cannot
 * send a key.
 *
 * Owns: the lines of the format (HTML, section 9.2.6).
 * Never: connects.
 */

export interface SentEvent {
  readonly id: string | undefined;
  readonly data: string;
}

/** Characters of one event, at most: more is not from our server. */
const LONGEST = 1 << 20;

export class EventReader {
  readonly #tell: (event: SentEvent) => void;
  #rest = '';
  #id: string | undefined;
  #data: string[] = [];

  constructor(tell: (event: SentEvent) => void) {
    this.#tell = tell;
  }

  /** Takes what came. */
  push(chunk: string): void {
    this.#rest += chunk;
    if (this.#rest.length > LONGEST) throw new Error('an event is too long');
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line.endsWith('\r') ? line.slice(0, -1) : line);
  }

  #line(line: string): void {
    if (line === '') {
      if (this.#data.length > 0) this.#tell({ id: this.#id, data: this.#data.join('\n') });
      this.#data = [];
      return;
    }
    const at = line.indexOf(':');
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
    if (name === 'id') this.#id = value;
    else if (name === 'data') this.#data.push(value);
  }
}
