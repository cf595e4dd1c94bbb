import { describe, expect, it } from 'vitest';
import {
  declared,
  envelope,
  planEncodings,
  type VideoPublishOptions,
} from '../src/media/encodings.js';

const CAMERA = ['q', 'h', 'f'];

describe('the envelope', () => {
  it.each<[string, VideoPublishOptions, (string | undefined)[], string]>([
    ['three encodings by default', {}, CAMERA, 'L1T3'],
    ['one with spatial layers', { scalabilityMode: 'L3T3_KEY' }, [undefined], 'L3T3_KEY'],
    ['one with a mode at all', { scalabilityMode: 'L1T3' }, [undefined], 'L1T3'],
    [
      'simulcast of a mode if said so',
      { scalabilityMode: 'L1T2', simulcast: true },
      CAMERA,
      'L1T2',
    ],
    [
      'never spatial layers in simulcast',
      { scalabilityMode: 'L3T3', simulcast: true },
      [undefined],
      'L3T3',
    ],
    ['one plain encoding', { simulcast: false }, [undefined], 'L1T3'],
  ])('has %s', (_, options, rids, scalabilityMode) => {
    expect(envelope('camera', options)).toEqual({ rids, scalabilityMode });
  });

  it('has two encodings for a screen', () => {
    expect(envelope('screen', {}).rids).toEqual(['h', 'f']);
  });
});

describe('the plan', () => {
  it.each([
    [1280, 720, ['q 320x180 150000', 'h 640x360 500000', 'f 1280x720 1700000']],
    [1920, 1080, ['q 480x270 300000', 'h 960x540 1020000', 'f 1920x1080 3470000']],
    [720, 1280, ['q 180x320 150000', 'h 360x640 500000', 'f 720x1280 1700000']],
    [640, 360, ['q 320x180 150000', 'h 640x360 500000']],
    [640, 480, ['q 320x240 190000', 'h 640x480 650000']],
    [320, 240, ['q 320x240 190000']],
    [64, 48, ['q 64x48 30000']],
  ])('for %i by %i', (width, height, expected) => {
    const plan = planEncodings('camera', { width, height }, CAMERA);
    expect(plan.map((e) => `${e.rid} ${e.width}x${e.height} ${e.maxBitrate}`)).toEqual(expected);
    expect(plan.at(-1)?.scaleResolutionDownBy).toBe(1);
  });

  it('takes 720 lines for granted where the size is not known', () => {
    expect(planEncodings('camera', {}, CAMERA)).toHaveLength(3);
  });

  it('has half and full for a screen, the half with fewer frames', () => {
    expect(planEncodings('screen', { width: 1920, height: 1080 }, ['h', 'f'])).toEqual([
      {
        rid: 'h',
        width: 960,
        height: 540,
        scaleResolutionDownBy: 2,
        maxBitrate: 950_000,
        maxFramerate: 15,
      },
      {
        rid: 'f',
        width: 1920,
        height: 1080,
        scaleResolutionDownBy: 1,
        maxBitrate: 2_500_000,
        maxFramerate: 30,
      },
    ]);
  });

  it('is one of full size without RIDs', () => {
    const plan = planEncodings('camera', { width: 1280, height: 720 }, [undefined]);
    expect(declared(plan)).toEqual([{ width: 1280, height: 720, maxBitrate: 1_700_000 }]);
  });
});
