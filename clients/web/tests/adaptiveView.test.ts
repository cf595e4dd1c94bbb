import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SlotWish } from '../src/generated/protocol.js';
import { AdaptiveView } from '../src/remote/adaptiveView.js';
import { RemoteVideoStream } from '../src/remote/remoteVideoStream.js';
import { ViewKeeper } from '../src/remote/viewKeeper.js';
import { slotTableFrom } from '../src/signalling/slotTable.js';
import { emptySlots } from './support/fakeSocket.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function world(count = 2, slots = emptySlots()) {
  const sent: (SlotWish[] | undefined)[] = [];
  const keeper = new ViewKeeper({
    slots: () => slotTableFrom({ version: 1, slots }),
    send: async (wishes) => {
      sent.push(wishes);
    },
  });
  const streams = Array.from({ length: count }, (_, index) => {
    const stream = new RemoteVideoStream('Video');
    const track = { trackId: `T${index}`, clientId: 'c', source: 'camera' as const, muted: false };
    stream.update(track, undefined, undefined);
    return stream;
  });
  const adaptive = new AdaptiveView(keeper, () => streams);
  adaptive.update();
  const at = (index: number) => streams[index] as RemoteVideoStream;
  const sizes = () =>
    (sent.at(-1) ?? []).map((wish) => `${wish.trackId} ${wish.width}x${wish.height}`);
  return { sent, streams, adaptive, at, sizes };
}

const BOX = { width: 320, height: 180 };

describe('the adaptive view', () => {
  it('leaves all to the server while the app shows nothing', async () => {
    const { sent, adaptive } = world();
    await vi.advanceTimersByTimeAsync(10_000);
    adaptive.update();
    expect(sent).toEqual([]);
  });

  it('asks for what appears, together and at once', async () => {
    const { sent, at, sizes } = world();
    at(0).reportBox('a', BOX);
    at(1).reportBox('b', { width: 1280, height: 720 });
    await vi.advanceTimersByTimeAsync(40);
    expect(sent).toHaveLength(1);
    expect(sizes()).toEqual(['T0 320x180', 'T1 1280x720']);
  });

  it('asks for 180 lines for each of sixteen small tiles', async () => {
    const { sent, streams } = world(
      16,
      Array.from({ length: 16 }, (_, index) => ({
        mid: String(index),
        kind: 'video',
        index,
        state: 'empty',
      })),
    );
    for (const [index, stream] of streams.entries()) stream.reportBox(index, BOX);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sent).toHaveLength(1);
    expect(sent[0]).toHaveLength(16);
    expect(sent[0]?.every(({ width, height }) => width === 320 && height === 180)).toBe(true);
  });

  it('does not send what hardly changed, however often it does', async () => {
    const { sent, at, sizes } = world(1);
    at(0).reportBox('a', BOX);
    await vi.advanceTimersByTimeAsync(1_000);
    for (const width of [325, 330, 315, 340]) {
      at(0).reportBox('a', { width, height: 180 });
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(sent).toHaveLength(1);
    at(0).reportBox('a', { width: 360, height: 202 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sizes()).toEqual(['T0 360x202']);
  });

  it('says nothing between the beginning and the end of a movement', async () => {
    const { sent, at } = world(1);
    at(0).reportBox('a', BOX);
    await vi.advanceTimersByTimeAsync(1_000);
    for (let width = 400; width < 1_000; width += 100) {
      at(0).reportBox('a', { width, height: width / 2 });
      await vi.advanceTimersByTimeAsync(16);
    }
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sent).toHaveLength(2);
    expect(sent[1]?.[0]).toMatchObject({ width: 900, height: 450 });
  });

  it('takes the largest of several views', async () => {
    const { at, sizes } = world(1);
    at(0).reportBox('small', BOX);
    at(0).reportBox('large', { width: 1280, height: 720 });
    await vi.advanceTimersByTimeAsync(500);
    expect(sizes()).toEqual(['T0 1280x720']);
    at(0).reportBox('large', { width: 0, height: 0 });
    await vi.advanceTimersByTimeAsync(500);
    expect(sizes()).toEqual(['T0 320x180']);
    at(0).removeView('small');
    await vi.advanceTimersByTimeAsync(500);
    expect(sizes()).toEqual(['T0 0x0']);
  });

  it('pages: what scrolls out is asked for no more, and again when it is back', async () => {
    const { at, sizes } = world();
    at(0).reportBox('a', BOX);
    at(1).reportBox('b', { width: 0, height: 0 });
    await vi.advanceTimersByTimeAsync(500);
    expect(sizes()).toEqual(['T0 320x180', 'T1 0x0']);
    at(0).reportBox('a', { width: 0, height: 0 });
    at(1).reportBox('b', BOX);
    await vi.advanceTimersByTimeAsync(500);
    expect(sizes()).toEqual(['T0 0x0', 'T1 320x180']);
  });

  it('asks for nothing of a stream that has no view, after a moment', async () => {
    const { at, sizes } = world();
    at(0).reportBox('a', BOX);
    await vi.advanceTimersByTimeAsync(500);
    expect(sizes()).toEqual(['T0 320x180']);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(sizes()).toEqual(['T0 320x180', 'T1 0x0']);
  });

  it('puts what is seen into slots before what is not', async () => {
    const { streams, sizes } = world(5);
    for (const [index, stream] of streams.entries()) {
      stream.reportBox(index, index < 3 ? { width: 0, height: 0 } : BOX);
    }
    await vi.advanceTimersByTimeAsync(500);
    expect(sizes()).toEqual(['T0 0x0', 'T3 320x180', 'T4 320x180']);
  });

  it('completes the wishes of the app: a pinned stream first, the others as they are', async () => {
    const { sent, adaptive, at } = world();
    at(0).reportBox('a', BOX);
    at(1).reportBox('b', { width: 1280, height: 720 });
    await adaptive.set([{ stream: at(1), priority: 9 }]);
    expect(sent.at(-1)).toEqual([
      { trackId: 'T1', mid: '2', width: 1280, height: 720, priority: 9 },
      { trackId: 'T0', mid: '3', width: 320, height: 180 },
    ]);
    await adaptive.set([{ follow: 'activeSpeaker', width: 640, height: 360 }]);
    expect(sent.at(-1)).toEqual([{ follow: 'activeSpeaker', mid: '2', width: 640, height: 360 }]);
  });

  it('keeps tracks in the slots of the view before, though the server has not moved them yet', async () => {
    const { sent, at } = world(3);
    at(1).reportBox('b', BOX);
    await vi.advanceTimersByTimeAsync(500);
    expect(sent.at(-1)?.map(({ mid }) => mid)).toEqual(['2']);
    at(0).reportBox('a', BOX);
    await vi.advanceTimersByTimeAsync(500);
    const mids = new Map(sent.at(-1)?.map(({ trackId, mid }) => [trackId, mid]));
    expect(mids.get('T1')).toBe('2');
    expect(mids.get('T0')).toBe('3');
  });
});
