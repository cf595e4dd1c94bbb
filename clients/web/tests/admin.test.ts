import { describe, expect, it } from 'vitest';
import { EventReader, type SentEvent } from '../demo/src/admin/eventReader.js';
import { slotText } from '../demo/src/admin/reception.js';

function readAll(chunks: readonly string[]): SentEvent[] {
  const found: SentEvent[] = [];
  const reader = new EventReader((event) => found.push(event));
  for (const chunk of chunks) reader.push(chunk);
  return found;
}

describe('events as a fetched stream', () => {
  const text = 'id: 7\ndata: {"a":1}\n\n:keep alive\n\nid: 8\r\ndata:x\ndata: y\n\n';
  const expected = [
    { id: '7', data: '{"a":1}' },
    { id: '8', data: 'x\ny' },
  ];

  it('are the same however the text is cut', () => {
    expect(readAll([text])).toEqual(expected);
    expect(readAll([...text])).toEqual(expected);
    for (let at = 1; at < text.length; at += 1) {
      expect(readAll([text.slice(0, at), text.slice(at)])).toEqual(expected);
    }
  });

  it('are not told before they are whole, nor without end', () => {
    expect(readAll(['id: 7\ndata: x\n'])).toEqual([]);
    expect(() => readAll([`data: ${'x'.repeat(2_000_000)}`])).toThrow('too long');
  });
});

describe('a slot in a line', () => {
  it('says whose picture it is, which layer, and why', () => {
    const text = slotText(
      {
        mid: '8',
        participantId: 'p1',
        trackId: 't1',
        state: 'active',
        reason: 'bandwidth',
        priority: 0,
        layer: { spatial: 1, temporal: 2 },
        width: 640,
        height: 360,
        bitrate: 400_000,
      },
      new Map([['p1', 'Rosa']]),
    );
    expect(text).toMatch(/^Slot 8 ← Rosa: active S1T2 640×360 \(.+\), 400 kbit\/s$/);
  });

  it('names a participant by its id if it has no other name', () => {
    const slot = {
      mid: '0',
      participantId: 'p9',
      state: 'waiting',
      priority: 0,
      bitrate: 0,
    } as const;
    expect(slotText(slot, new Map())).toBe('Slot 0 ← p9: waiting');
  });
});
