import { describe, expect, it } from 'vitest';
import { planEncodings } from '../src/media/encodings.js';
import { SenderTuner } from '../src/media/senderTuner.js';
import { FakeSender } from './support/fakePeerConnection.js';

const RIDS = ['q', 'h', 'f'];

function tuned(encodings: object[] = RIDS.map((rid) => ({ rid, scalabilityMode: 'L1T3' }))) {
  const sender = new FakeSender(encodings);
  const tuner = new SenderTuner(sender as unknown as RTCRtpSender, 'balanced');
  const active = () => sender.parameters.encodings.map((encoding) => encoding.active);
  return { sender, tuner, active };
}

const HD = planEncodings('camera', { width: 1280, height: 720 }, RIDS);
const SMALL = planEncodings('camera', { width: 640, height: 360 }, RIDS);
const demand = (...active: boolean[]) =>
  active.map((each, index) => ({ rid: RIDS[index] ?? '', active: each }));

describe('a sender', () => {
  it('sends what its picture is worth', async () => {
    const { sender, tuner, active } = tuned();
    await tuner.plan(HD);
    expect(active()).toEqual([true, true, true]);
    await tuner.plan(SMALL);
    expect(active()).toEqual([true, true, false]);
    const scales = sender.parameters.encodings.map((e) => e.scaleResolutionDownBy);
    expect(scales.slice(0, 2)).toEqual([2, 1]);
  });

  it('sends what is wanted, and all again when nothing is said', async () => {
    const { tuner, active } = tuned();
    await tuner.plan(HD);
    await tuner.demand(demand(true, false, false));
    expect(active()).toEqual([true, false, false]);
    await tuner.demand(demand(false, false, false));
    expect(active()).toEqual([false, false, false]);
    await tuner.demand(undefined);
    expect(active()).toEqual([true, true, true]);
  });

  it('keeps to demand over another picture and a negotiation', async () => {
    const { sender, tuner, active } = tuned();
    await tuner.plan(HD);
    await tuner.demand(demand(true, false, false));
    await tuner.plan(SMALL);
    for (const encoding of sender.parameters.encodings) encoding.active = true;
    await tuner.apply();
    expect(active()).toEqual([true, false, false]);
  });

  it('joins wishes of the same moment into one call, and makes none for nothing', async () => {
    const { sender, tuner, active } = tuned();
    await Promise.all([
      tuner.plan(HD),
      tuner.demand(demand(true, true, true)),
      tuner.demand(demand(true, true, false)),
    ]);
    expect(sender.parametersSet).toBe(1);
    expect(active()).toEqual([true, true, false]);
    await tuner.apply();
    expect(sender.parametersSet).toBe(1);
  });

  it('never has two calls under way', async () => {
    const { sender, tuner, active } = tuned();
    let under = 0;
    let most = 0;
    const set = sender.setParameters.bind(sender);
    sender.setParameters = async (parameters) => {
      most = Math.max(most, ++under);
      await new Promise((resolve) => setTimeout(resolve, 5));
      await set(parameters);
      under -= 1;
    };
    void tuner.plan(HD);
    await new Promise((resolve) => setTimeout(resolve, 1));
    void tuner.demand(demand(true, true, false));
    await tuner.demand(demand(true, false, false));
    expect(most).toBe(1);
    expect(active()).toEqual([true, false, false]);
  });

  it('goes without layers that the codec refuses', async () => {
    const { sender, tuner, active } = tuned();
    sender.refuse = ({ encodings }) => encodings.some((e) => 'scalabilityMode' in e);
    await tuner.plan(HD);
    expect(active()).toEqual([true, true, true]);
    expect(sender.parameters.encodings[0]).not.toHaveProperty('scalabilityMode');
  });

  it('does not mind a sender that is gone', async () => {
    const { sender, tuner } = tuned();
    sender.refuse = () => true;
    await tuner.plan(HD);
    await tuner.demand(demand(false, false, false));
  });

  it('serves everyone with one encoding where the server takes no simulcast', async () => {
    const { sender, tuner, active } = tuned([{}]);
    await tuner.plan(HD);
    await tuner.demand(demand(true, false, false));
    expect(active()).toEqual([true]);
    expect(sender.parameters.encodings[0]).toMatchObject({
      scaleResolutionDownBy: 1,
      maxBitrate: 1_700_000,
    });
    await tuner.demand(demand(false, false, false));
    expect(active()).toEqual([false]);
  });

  it('follows demand for a track of one encoding without RID', async () => {
    const { tuner, active } = tuned([{}]);
    await tuner.plan(planEncodings('camera', {}, [undefined]));
    await tuner.demand([{ active: false }]);
    expect(active()).toEqual([false]);
  });
});
