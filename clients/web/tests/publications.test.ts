import { describe, expect, it } from 'vitest';
import { ConvokeError } from '../src/errors.js';
import {
  nextOp,
  type PublicationOp,
  Publications,
  type Wanted,
} from '../src/local/publications.js';

const camera: Wanted = { clientId: 'camera-1', source: 'camera', muted: false };

describe('the next message', () => {
  it.each<[string, Wanted[], [string, boolean][], PublicationOp | undefined]>([
    ['nothing when both agree', [camera], [['camera-1', false]], undefined],
    ['publish what the server lacks', [camera], [], { type: 'publish', wanted: camera }],
    [
      'unpublish what is not wanted, first',
      [camera],
      [['camera-0', false]],
      { type: 'unpublish', clientId: 'camera-0' },
    ],
    [
      'mute what differs',
      [camera],
      [['camera-1', true]],
      { type: 'mute', clientId: 'camera-1', muted: false },
    ],
  ])('is %s', (_, wanted, confirmed, op) => {
    expect(nextOp(new Map(wanted.map((w) => [w.source, w])), new Map(confirmed))).toEqual(op);
  });
});

describe('publications', () => {
  function record(fail: (op: PublicationOp) => ConvokeError | undefined = () => undefined) {
    const sent: string[] = [];
    const publications = new Publications(async (op) => {
      const error = fail(op);
      if (error !== undefined) throw error;
      sent.push(`${op.type} ${op.type === 'publish' ? op.wanted.clientId : op.clientId}`);
    });
    return { sent, publications };
  }

  it('sends only the last of several wishes', async () => {
    const { sent, publications } = record();
    publications.want('microphone', false);
    publications.setMuted('microphone', true);
    publications.want('camera', false);
    publications.unwant('camera');
    await publications.sync();
    expect(sent).toEqual(['publish microphone-1']);
  });

  it('never loses a wish that comes while it sends', async () => {
    const { sent, publications } = record();
    publications.want('microphone', false);
    const first = publications.sync().then(() => {
      publications.setMuted('microphone', true);
      return publications.sync();
    });
    publications.want('camera', false);
    await publications.sync();
    await first;
    expect(sent).toEqual(['publish microphone-1', 'publish camera-2', 'mute microphone-1']);
  });

  it('waits for the next connection when the present one is lost', async () => {
    let up = false;
    const { sent, publications } = record(() =>
      up ? undefined : new ConvokeError('connectionLost', 'gone'),
    );
    publications.want('camera', false);
    await publications.sync();
    expect(sent).toEqual([]);
    up = true;
    publications.confirm([]);
    await publications.sync();
    expect(sent).toEqual(['publish camera-1']);
  });

  it('forgets a track that the server refuses, and says why once', async () => {
    const { publications } = record(() => new ConvokeError('notAllowed', 'no camera for you'));
    const clientId = publications.want('camera', false);
    await publications.sync();
    expect(publications.get('camera')).toBeUndefined();
    expect(publications.takeRefusal(clientId)?.code).toBe('notAllowed');
    expect(publications.takeRefusal(clientId)).toBeUndefined();
  });

  it('ends even if the server refuses everything for ever', async () => {
    const { publications } = record((op) =>
      op.type === 'publish' ? undefined : new ConvokeError('trackNotFound', 'no such track'),
    );
    publications.want('microphone', false);
    publications.confirm([
      { trackId: 'T', clientId: 'microphone-1', source: 'microphone', muted: true },
    ]);
    await publications.sync();
    expect(publications.get('microphone')?.muted).toBe(false);
  });
});
