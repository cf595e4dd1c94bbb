/**
 * The keys of an encrypted call. How people come by the same keys is the app's affair.
 *
 * Owns: keys by index, and which of them is used for sending.
 * Never: hands a key to the server, or out of the browser.
 */
import { Emitter } from '../events.js';
import type { Keys } from './frameTransform.js';

const ITERATIONS = 600_000;
const AES = { name: 'AES-GCM', length: 256 };
const MOST_INDEX = 255;

interface KeyringEvents {
  /** @internal */
  changed: undefined;
}

export class EncryptionKeyring extends Emitter<KeyringEvents> {
  readonly #byIndex = new Map<number, CryptoKey>();
  #sendIndex: number | undefined;

  /**
   * A key for that index, 0 to 255: 16 or 32 random bytes, or an AES-GCM key. The first one is used
   * for sending; to rotate, give everyone the new key under another index, then `sendWith` it.
   */
  async setKey(index: number, key: BufferSource | CryptoKey): Promise<void> {
    const made = key instanceof CryptoKey ? key : await imported(key);
    this.#set(index, made);
  }

  /**
   * A key from a passphrase (PBKDF2, SHA-256). `salt` should differ from call to call, such as the
   * group ID does; everyone needs the same.
   */
  async setPassphrase(index: number, passphrase: string, salt: string): Promise<void> {
    const encoder = new TextEncoder();
    const usages: KeyUsage[] = ['deriveKey'];
    const material = await crypto.subtle.importKey(
      'raw',
      encoder.encode(passphrase.normalize('NFC')),
      'PBKDF2',
      false,
      usages,
    );
    const key = await crypto.subtle.deriveKey(
      { name: 'PBKDF2', hash: 'SHA-256', iterations: ITERATIONS, salt: encoder.encode(salt) },
      material,
      AES,
      false,
      ['encrypt', 'decrypt'],
    );
    this.#set(index, key);
  }

  /** Sends with this key from now on. */
  sendWith(index: number): void {
    if (!this.#byIndex.has(index)) throw new RangeError(`There is no key ${index}.`);
    this.#sendIndex = index;
    this.emit('changed', undefined);
  }

  /** Forgets a key; what is sealed with it cannot be opened any more. */
  removeKey(index: number): void {
    this.#byIndex.delete(index);
    if (this.#sendIndex === index) this.#sendIndex = undefined;
    this.emit('changed', undefined);
  }

  /** @internal */
  get keys(): Keys {
    return { byIndex: new Map(this.#byIndex), sendIndex: this.#sendIndex };
  }

  #set(index: number, key: CryptoKey): void {
    if (!Number.isInteger(index) || index < 0 || index > MOST_INDEX) {
      throw new RangeError(`A key's index is from 0 to ${MOST_INDEX}, not ${index}.`);
    }
    this.#byIndex.set(index, key);
    this.#sendIndex ??= index;
    this.emit('changed', undefined);
  }
}

function imported(key: BufferSource): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']);
}
