import { describe, expect, it } from 'vitest';
import { bestColumns, capacity, choose, grid, stage } from '../demo/src/layout.js';
import { callIdIn, linkTo, readAddress } from '../demo/src/link.js';
import { explain, explainEnd, hue, initials } from '../demo/src/words.js';
import { ConvokeError } from '../src/errors.js';

const ID = '29228d3e-040e-4656-a70e-890ab4e173e5';

describe('call IDs', () => {
  it.each([
    ID,
    ` ${ID.toUpperCase()}\n`,
    `{${ID}}`,
    `urn:uuid:${ID}`,
    ID.replaceAll('-', ''),
    `https://calls.example/?call=${ID}`,
    `https://calls.example/#${ID}`,
    `Join me: https://calls.example/?call=${ID}.`,
  ])('are found in %j', (text) => {
    expect(callIdIn(text)).toBe(ID);
  });

  it.each(['', 'not an id', '29228d3e-040e-4656-a70e', 'https://calls.example/'])(
    'are not found in %j',
    (text) => {
      expect(callIdIn(text)).toBeUndefined();
    },
  );

  it('come back from a link', () => {
    const options = readAddress(
      `${linkTo(ID, 'https://x.example')}&name=Ada%20L&mic=off&autojoin=1`,
    );
    expect(options).toEqual({
      callId: ID,
      identity: undefined,
      role: undefined,
      guest: false,
      lobby: undefined,
      name: 'Ada L',
      autojoin: true,
      microphone: false,
      camera: true,
      video: {},
      passphrase: undefined,
    });
    expect(readAddress('https://x.example/?e2ee=a%20b').passphrase).toBe('a b');
    expect(readAddress(`https://x.example/#${ID}&e2ee=secret`)).toMatchObject({
      callId: ID,
      passphrase: 'secret',
    });
    expect(readAddress('https://x.example/?codec=vp9&svc=L3T3_KEY').video).toEqual({
      codec: 'VP9',
      scalabilityMode: 'L3T3_KEY',
    });
    expect(readAddress(`https://x.example/#${ID}`).callId).toBe(ID);
    expect(readAddress('https://x.example/').callId).toBeUndefined();
  });
});

describe('the grid', () => {
  it.each([
    [1, 1280, 720, 1],
    [2, 1280, 720, 2],
    [4, 1280, 720, 2],
    [5, 1280, 720, 3],
    [9, 1280, 720, 3],
    [10, 1280, 720, 4],
    [2, 360, 640, 1],
    [4, 360, 640, 1],
    [6, 360, 640, 2],
  ])('of %i tiles on %i by %i has %i columns', (count, width, height, columns) => {
    expect(bestColumns(count, { width, height })).toBe(columns);
  });

  it('stays within its area, without overlap, for every count and shape', () => {
    for (const area of [
      { width: 1280, height: 640 },
      { width: 360, height: 560 },
      { width: 800, height: 120 },
    ]) {
      for (let count = 1; count <= 25; count += 1) {
        const tiles = grid(count, area);
        expect(tiles).toHaveLength(count);
        for (const [i, a] of tiles.entries()) {
          expect(a.x).toBeGreaterThanOrEqual(-0.01);
          expect(a.y).toBeGreaterThanOrEqual(-0.01);
          expect(a.x + a.width).toBeLessThanOrEqual(area.width + 0.01);
          expect(a.y + a.height).toBeLessThanOrEqual(area.height + 0.01);
          for (const b of tiles.slice(i + 1)) {
            const apart =
              a.x + a.width <= b.x + 0.01 ||
              b.x + b.width <= a.x + 0.01 ||
              a.y + a.height <= b.y + 0.01 ||
              b.y + b.height <= a.y + 0.01;
            expect(apart).toBe(true);
          }
        }
      }
    }
  });

  it('gives a shared screen most of the page, with the others beside or below', () => {
    const wide = stage(3, { width: 1280, height: 640 });
    expect(wide.stage.width).toBeGreaterThan(900);
    expect(wide.others.every((tile) => tile.x >= wide.stage.width)).toBe(true);
    const tall = stage(3, { width: 360, height: 640 });
    expect(tall.stage.width).toBe(360);
    expect(tall.others.every((tile) => tile.y >= tall.stage.height)).toBe(true);
    expect(stage(0, { width: 100, height: 100 }).stage.width).toBe(100);
  });

  it('has room for fewer people on a small page', () => {
    expect(capacity({ width: 1920, height: 1000 })).toBe(25);
    expect(capacity({ width: 360, height: 560 })).toBe(10);
    expect(capacity({ width: 10, height: 10 })).toBe(2);
  });
});

describe('who is on the page', () => {
  const none = new Map<string, number>();

  it('is everyone who fits, in order', () => {
    expect(choose(['a', 'b'], [], none, 4)).toEqual(['a', 'b']);
  });

  it('keeps those who were there in their places', () => {
    expect(choose(['a', 'b', 'c', 'd'], ['d', 'b'], none, 3)).toEqual(['d', 'b', 'a']);
  });

  it('puts a speaker in the place of whoever was silent longest', () => {
    const spoke = new Map([
      ['a', 50],
      ['b', 10],
      ['d', 90],
    ]);
    expect(choose(['a', 'b', 'c', 'd'], ['a', 'b'], spoke, 2)).toEqual(['a', 'd']);
  });

  it('does not move anyone for a speaker of long ago', () => {
    const spoke = new Map([
      ['a', 50],
      ['b', 60],
      ['c', 20],
    ]);
    expect(choose(['a', 'b', 'c'], ['a', 'b'], spoke, 2)).toEqual(['a', 'b']);
  });
});

describe('words', () => {
  it('say what to do about an error, even an unknown one', () => {
    expect(explain(new ConvokeError('microphoneDenied', '')).advice).toContain('allow');
    const future = new ConvokeError('fromTheFuture' as 'busy', 'The moon is in the way.');
    expect(explain(future).advice).toBe('The moon is in the way.');
  });

  it('say why a call ended', () => {
    const left = explainEnd({ code: 0, subCode: 0, message: '' }, undefined);
    expect(left.title).toBe('You left the call');
    const stopped = explainEnd({ code: 503, subCode: 70001, message: '' }, undefined);
    expect(stopped.title).toContain('shutting down');
    const other = explainEnd({ code: 418, subCode: 0, message: 'Teapot.' }, undefined);
    expect(other.advice).toBe('Teapot.');
  });

  it.each([
    ['Ada Lovelace', 'AL'],
    ['ada', 'A'],
    ['  Jean  Luc  Picard ', 'JP'],
    ['李明', '李'],
    ['😀 x', '😀X'],
    ['', '?'],
  ])('make of %j the initials %s', (name, letters) => {
    expect(initials(name)).toBe(letters);
  });

  it('give a person a steady colour', () => {
    expect(hue('8:ada')).toBe(hue('8:ada'));
    expect(hue('8:ada')).toBeLessThan(360);
  });
});
