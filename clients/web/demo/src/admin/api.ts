/**
 * What the operator's page asks the server for.
 *
 * Owns: requests with the key, pages of lists, and the stream of events.
 * Never: stores the key, or shows it in an address or a message.
 */
import type { Explanation, Role, Source } from '@convoke/client';
import { EventReader } from './eventReader.js';

export interface LiveCall {
  readonly id: string;
  readonly locator: string;
  readonly participants: number;
  readonly waiting: number;
}

export interface LiveParticipant {
  readonly participantId: string;
  readonly identity: string;
  readonly displayName: string;
  readonly role?: Role;
  readonly state: 'inLobby' | 'joining' | 'connected' | 'unreachable' | 'leaving';
  readonly joinedAt: string;
  readonly muted: boolean;
  readonly tracks: readonly {
    readonly trackId: string;
    readonly source: Source;
    readonly muted: boolean;
  }[];
  readonly explanation?: Explanation;
}

/** A CloudEvent. */
export interface ServerEvent {
  readonly id: string;
  readonly type: string;
  readonly time: string;
  readonly subject: string;
  readonly data: Record<string, unknown>;
}

/** A refusal, in words for people. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }

  /** Whether another key would help. */
  get ofKey(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

interface Page<T> {
  readonly value: readonly T[];
  readonly nextLink?: string;
}

/** Pages of one list that are read at most. */
const PAGES = 20;
/** How long to wait before the stream of events is opened again. */
const AGAIN_MS = 2_000;

export class Api {
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  calls(): Promise<LiveCall[]> {
    return this.#list('calls/live');
  }

  participants(call: string): Promise<LiveParticipant[]> {
    return this.#list(`calls/${encodeURIComponent(call)}/participants`);
  }

  async participant(call: string, participant: string): Promise<LiveParticipant> {
    const who = encodeURIComponent(participant);
    const path = `calls/${encodeURIComponent(call)}/participants/${who}`;
    return (await (await this.#send('GET', path)).json()) as LiveParticipant;
  }

  async end(call: string): Promise<void> {
    await this.#send('POST', `calls/${encodeURIComponent(call)}/:end`);
  }

  /** Everyone, without an identity. */
  async mute(call: string, identity?: string): Promise<void> {
    await this.#send('POST', `calls/${encodeURIComponent(call)}/:mute`, { identity });
  }

  async remove(call: string, identity: string): Promise<void> {
    await this.#send('POST', `calls/${encodeURIComponent(call)}/:remove`, { identity });
  }

  /** Tells events as they happen, from now on, until the signal says stop. */
  async follow(
    tell: (event: ServerEvent) => void,
    live: (connected: boolean) => void,
    signal: AbortSignal,
  ): Promise<void> {
    let last: string | undefined;
    while (!signal.aborted) {
      try {
        const headers = {
          accept: 'text/event-stream',
          ...(last === undefined ? {} : { 'last-event-id': last }),
        };
        const path = last === undefined ? 'events?after=newest' : 'events';
        const response = await this.#send('GET', path, undefined, headers, signal);
        live(true);
        const read = new EventReader(({ id, data }) => {
          last = id ?? last;
          tell(JSON.parse(data) as ServerEvent);
        });
        await drain(response, read);
      } catch (error) {
        if (error instanceof Refused && error.ofKey) throw error;
      }
      live(false);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  async #list<T>(path: string): Promise<T[]> {
    const all: T[] = [];
    let next: string | undefined = path;
    for (let page = 0; next !== undefined && page < PAGES; page += 1) {
      const found = (await (await this.#send('GET', next)).json()) as Page<T>;
      all.push(...found.value);
      next = found.nextLink;
    }
    return all;
  }

  async #send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<Response> {
    const response = await fetch(new URL(path, location.href), {
      method,
      headers: {
        authorization: `Bearer ${this.#key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
      cache: 'no-store',
      credentials: 'omit',
    }).catch((error: unknown) => {
      if (signal?.aborted) throw error;
      throw new Refused(0, 'The server cannot be reached.');
    });
    if (response.ok) return response;
    throw new Refused(response.status, await reason(response));
  }
}

async function drain(response: Response, reader: EventReader): Promise<void> {
  const text = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const chunk = await text?.read();
    if (chunk === undefined || chunk.done) return;
    reader.push(chunk.value);
  }
}

async function reason(response: Response): Promise<string> {
  if (response.status === 401) return 'This key is not one of this server.';
  if (response.status === 403) return 'This key may not do that: it needs the role `admin`.';
  const problem = (await response.json().catch(() => ({}))) as { detail?: unknown };
  const text = typeof problem.detail === 'string' ? problem.detail : response.statusText;
  return `The server refused: ${text}.`;
}
