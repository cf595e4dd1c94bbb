import { describe, expect, it } from 'vitest';
import { FrameSealer, keyIndexOf, openFrame } from '../src/encryption/frameCipher.js';
import {
  clearOf,
  type EncodedFrame,
  FrameTransform,
  type Keys,
} from '../src/encryption/frameTransform.js';
import { EncryptionKeyring } from '../src/encryption/keyring.js';

const FRAME = Uint8Array.from({ length: 200 }, (_, index) => index);
const VP8_KEY = { bytes: 10, wrapped: false };
const AV1 = { bytes: 0, wrapped: true };

async function keyring(...indices: number[]): Promise<EncryptionKeyring> {
  const keys = new EncryptionKeyring();
  for (const index of indices) await keys.setKey(index, new Uint8Array(32).fill(index + 1));
  return keys;
}

async function keyOf(index: number): Promise<CryptoKey> {
  const key = (await keyring(index)).keys.byIndex.get(index);
  if (key === undefined) throw new Error('no key');
  return key;
}

describe('a sealed frame', () => {
  it('opens with its key, and keeps its first bytes readable', async () => {
    const key = await keyOf(7);
    const sealed = await new FrameSealer().seal(FRAME, VP8_KEY, key, 7);
    expect(sealed.slice(0, 10)).toEqual(FRAME.slice(0, 10));
    expect(sealed.length).toBe(FRAME.length + 16 + 14);
    expect(keyIndexOf(sealed)).toBe(7);
    expect(await openFrame(sealed, key)).toEqual(FRAME);
  });

  it('hides all else', async () => {
    const sealed = await new FrameSealer().seal(FRAME, VP8_KEY, await keyOf(0), 0);
    expect(sealed.slice(10, 60)).not.toEqual(FRAME.slice(10, 60));
  });

  it.each([1, 120, 20_000])('of %i bytes is an OBU of the right size for AV1', async (length) => {
    const key = await keyOf(0);
    const sealed = await new FrameSealer().seal(new Uint8Array(length).fill(5), AV1, key, 0);
    expect((sealed[0] ?? 0) >> 3).toBe(6);
    let size = 0;
    let at = 1;
    for (let shift = 0; ; shift += 7, at += 1) {
      size |= ((sealed[at] ?? 0) & 0x7f) << shift;
      if (((sealed[at] ?? 0) & 0x80) === 0) break;
    }
    expect(at + 1 + size).toBe(sealed.length);
    expect(await openFrame(sealed, key)).toEqual(new Uint8Array(length).fill(5));
  });

  it.each([
    ['a clear byte', 3],
    ['a hidden byte', 50],
    ['the IV', -14],
    ['the format', -1],
  ])('does not open when %s was changed', async (_, at) => {
    const key = await keyOf(0);
    const sealed = await new FrameSealer().seal(FRAME, VP8_KEY, key, 0);
    const changed = at < 0 ? sealed.length + at : at;
    sealed[changed] = (sealed[changed] ?? 0) ^ 1;
    await expect(openFrame(sealed, key)).rejects.toThrow();
  });

  it('does not open with another key, nor when it is no sealed frame', async () => {
    const sealed = await new FrameSealer().seal(FRAME, VP8_KEY, await keyOf(0), 0);
    await expect(openFrame(sealed, await keyOf(1))).rejects.toThrow();
    await expect(openFrame(FRAME, await keyOf(1))).rejects.toThrow();
    expect(keyIndexOf(new Uint8Array(29))).toBeUndefined();
  });

  it('never has the IV of another', async () => {
    const key = await keyOf(0);
    const ivs = new Set<string>();
    const sealers = [new FrameSealer(), new FrameSealer(), new FrameSealer()];
    for (let n = 0; n < 50; n += 1) {
      for (const sealer of sealers) {
        const sealed = await sealer.seal(FRAME, VP8_KEY, key, 0);
        ivs.add(sealed.slice(-14, -2).join());
      }
    }
    expect(ivs.size).toBe(150);
  });
});

function frame(type: EncodedFrame['type'], metadata = { mimeType: 'video/VP8' }): EncodedFrame {
  return {
    ...(type === undefined ? {} : { type }),
    data: FRAME.slice().buffer,
    getMetadata: () => (type === undefined ? { mimeType: 'audio/opus' } : metadata),
  };
}

describe('the transform', () => {
  const sending = (keys: () => Keys) => new FrameTransform('send', keys, () => undefined);

  it('carries frames from one end to the other', async () => {
    const keys = (await keyring(0)).keys;
    const receiver = new FrameTransform(
      'receive',
      () => keys,
      () => undefined,
    );
    const sender = sending(() => keys);
    for (const each of [frame('key'), frame('delta'), frame(undefined)]) {
      expect(await sender.apply(each)).toBe(true);
      expect(new Uint8Array(each.data)).not.toEqual(FRAME);
      expect(await receiver.apply(each)).toBe(true);
      expect(new Uint8Array(each.data)).toEqual(FRAME);
    }
    expect(receiver.counts).toEqual({ passed: 3, failed: 0 });
  });

  it('lets nothing out without a key or of an unknown codec', async () => {
    const none = sending(() => ({ byIndex: new Map(), sendIndex: undefined }));
    expect(await none.apply(frame('key'))).toBe(false);
    const keys = (await keyring(0)).keys;
    const sender = sending(() => keys);
    expect(await sender.apply(frame('key', { mimeType: 'video/H264' }))).toBe(false);
    const unsaid = () => frame('key', { payloadType: 96 } as never);
    expect(await sender.apply(unsaid())).toBe(false);
    sender.setCodecs(new Map([[96, 'vp8']]));
    expect(await sender.apply(unsaid())).toBe(true);
    expect(sender.counts).toEqual({ passed: 1, failed: 2 });
  });

  it('changes over to another key, and asks for a keyframe after frames that were lost', async () => {
    const ours = await keyring(0, 1);
    const theirs = await keyring(0);
    let asked = 0;
    const sender = sending(() => ours.keys);
    const receiver = new FrameTransform(
      'receive',
      () => theirs.keys,
      () => {
        asked += 1;
      },
    );
    const pass = async (type: 'key' | 'delta') => {
      const each = frame(type);
      await sender.apply(each);
      return receiver.apply(each);
    };
    expect(await pass('key')).toBe(true);
    ours.sendWith(1);
    expect(await pass('delta')).toBe(false);
    await theirs.setKey(1, new Uint8Array(32).fill(2));
    expect(await pass('delta')).toBe(true);
    expect(asked).toBe(1);
    expect(await pass('delta')).toBe(true);
    expect(asked).toBe(1);
  });

  it('passes frames of nothing', async () => {
    const sender = sending(() => ({ byIndex: new Map(), sendIndex: undefined }));
    expect(await sender.apply({ ...frame(undefined), data: new ArrayBuffer(0) })).toBe(true);
  });

  it.each([
    ['key', 'vp8', { bytes: 10, wrapped: false }],
    ['delta', 'vp8', { bytes: 3, wrapped: false }],
    ['delta', 'vp9', { bytes: 0, wrapped: false }],
    ['key', 'av1', { bytes: 0, wrapped: true }],
    [undefined, 'opus', { bytes: 1, wrapped: false }],
    [undefined, 'red', undefined],
    ['key', 'h264', undefined],
  ] as const)('leaves readable of %s %s', (type, codec, clear) => {
    expect(clearOf(type, codec)).toEqual(clear);
  });
});

describe('the keyring', () => {
  it('makes the same key of the same passphrase and salt only', async () => {
    const key = async (passphrase: string, salt: string) => {
      const keys = new EncryptionKeyring();
      await keys.setPassphrase(0, passphrase, salt);
      return keys.keys.byIndex.get(0) as CryptoKey;
    };
    const sealed = await new FrameSealer().seal(FRAME, VP8_KEY, await key('secret', 'call'), 0);
    expect(await openFrame(sealed, await key('secret', 'call'))).toEqual(FRAME);
    await expect(openFrame(sealed, await key('secret', 'other'))).rejects.toThrow();
    await expect(openFrame(sealed, await key('Secret', 'call'))).rejects.toThrow();
  });

  it('sends with the first key until told otherwise', async () => {
    const keys = await keyring(4, 5);
    expect(keys.keys.sendIndex).toBe(4);
    keys.sendWith(5);
    expect(keys.keys.sendIndex).toBe(5);
    keys.removeKey(5);
    expect(keys.keys.sendIndex).toBeUndefined();
    expect(() => keys.sendWith(9)).toThrow(RangeError);
    await expect(keys.setKey(256, new Uint8Array(16))).rejects.toThrow(RangeError);
  });
});
