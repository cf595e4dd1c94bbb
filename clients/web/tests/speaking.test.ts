import { describe, expect, it } from 'vitest';
import { LevelReader, SpeakingTracker } from '../src/remote/speaking.js';
import { FakeReceiver } from './support/fakePeerConnection.js';

const RULES = { startLevel: 0.02, keepLevel: 0.01, holdMs: 500 };

describe('speaking', () => {
  it('begins at the upper level, and ends after a silence', () => {
    const tracker = new SpeakingTracker(RULES);
    const steps: [number, number | undefined, boolean | undefined][] = [
      [0, 0.015, undefined],
      [100, 0.03, true],
      [200, 0.015, undefined],
      [600, 0.001, undefined],
      [701, undefined, false],
      [800, 0.015, undefined],
    ];
    for (const [nowMs, level, change] of steps) {
      const levels = new Map(level === undefined ? [] : [['a', level]]);
      expect(tracker.update(nowMs, levels).get('a')).toBe(change);
    }
  });

  it('names the newest source, and only when packets came', () => {
    const receiver = new FakeReceiver('audio');
    const reader = new LevelReader();
    const read = () => reader.read('0', receiver as unknown as RTCRtpReceiver);
    expect(read()).toBeUndefined();
    receiver.sources = [
      { source: 2, timestamp: 200, rtpTimestamp: 0, audioLevel: 0.5 },
      { source: 1, timestamp: 100, rtpTimestamp: 0, audioLevel: 0.9 },
    ];
    expect(read()).toEqual({ csrc: 2, level: 0.5 });
    expect(read()).toBeUndefined();
  });
});
