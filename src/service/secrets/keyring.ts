import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { StoreError } from '../../lib/errors.ts';
import type { Json, SealedValue } from '../model.ts';
import { ServiceError } from '../service-error.ts';

/** What stands wherever a secret must not be shown. */
export const MASK = '********';

/** A file of keys is never larger. */
export const KEY_FILE_BYTES_MAX: number = 64 * 1024;
/** Keys in one file: the one in use, and those that may still be needed. */
export const KEYS_MAX = 100;

const KEY_BYTES = 32;
/** 96 random bits, as NIST SP 800-38D has it: good for 2^32 secrets under one key. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** The permissions of everybody but owner and group. */
const OTHERS = 0o007;
const KEY_LINE = /^([A-Za-z0-9][\w.-]{0,63}):([A-Za-z0-9+/]{43}=)$/;

/**
 * Seals secrets, and opens them, with AES-256-GCM. What was sealed is bound to the id of its configuration: under
 * another one it does not open. Keys never leave it.
 */
export class Keyring {
  readonly #sealing: string;
  readonly #keys: ReadonlyMap<string, KeyObject>;

  private constructor(sealing: string, keys: ReadonlyMap<string, KeyObject>) {
    this.#sealing = sealing;
    this.#keys = keys;
  }

  /**
   * Keys from the text of a file: a line each, `id:base64 of 32 bytes`. The first seals, all of them open. Empty lines
   * and those that begin with # are passed over.
   *
   * @throws StoreError `bad-options` naming the line, never what it holds
   */
  static parse(text: string): Keyring {
    const keys = new Map<string, KeyObject>();
    for (const [at, line] of text.split(/\r?\n/).entries()) {
      if (line === '' || line.startsWith('#')) continue;
      const [, id, base64] = KEY_LINE.exec(line.trimEnd()) ?? [];
      if (id === undefined || base64 === undefined) {
        throw wrongKeys(`line ${at + 1} is not "id:base64 of ${KEY_BYTES} bytes"`);
      }
      if (keys.has(id)) throw wrongKeys(`line ${at + 1}: there is a key "${id}" already`);
      if (keys.size === KEYS_MAX) throw wrongKeys(`there are more than ${KEYS_MAX} keys`);
      keys.set(id, createSecretKey(Buffer.from(base64, 'base64')));
    }
    const [sealing] = keys.keys();
    if (sealing === undefined) throw wrongKeys('there is no key');
    return new Keyring(sealing, keys);
  }

  /** Which key seals. */
  get keyId(): string {
    return this.#sealing;
  }

  /** How many keys there are. */
  get size(): number {
    return this.#keys.size;
  }

  seal(json: Json, configurationId: string): SealedValue {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#keys.get(this.#sealing)!, nonce);
    cipher.setAAD(Buffer.from(configurationId));
    const text = Buffer.concat([cipher.update(JSON.stringify(json)), cipher.final(), cipher.getAuthTag()]);
    return {
      sealed: 1,
      keyId: this.#sealing,
      nonce: nonce.toString('base64'),
      text: text.toString('base64'),
    };
  }

  /** @throws ServiceError `unavailable` when the key is not there, or does not open it for this configuration */
  open(sealed: SealedValue, configurationId: string): Json {
    const key = this.#keys.get(sealed.keyId);
    if (key === undefined) {
      throw new ServiceError(
        'unavailable',
        `the key "${sealed.keyId}" that sealed the secret is not configured`,
      );
    }
    const nonce = Buffer.from(sealed.nonce, 'base64');
    const text = Buffer.from(sealed.text, 'base64');
    // A shorter tag would be easier to forge; Node takes whatever length it is given.
    if (nonce.length !== NONCE_BYTES || text.length < TAG_BYTES) throw cannotOpen();
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(configurationId));
      decipher.setAuthTag(text.subarray(-TAG_BYTES));
      const plain = Buffer.concat([decipher.update(text.subarray(0, -TAG_BYTES)), decipher.final()]);
      return JSON.parse(plain.toString()) as Json;
    } catch (cause) {
      throw cannotOpen(cause);
    }
  }

  /** Whether another key seals now than the one that sealed this: then it should be sealed anew. */
  needsResealing(sealed: SealedValue): boolean {
    return sealed.keyId !== this.#sealing;
  }
}

/**
 * The keys of a file that only its owner and their group can read, or write.
 *
 * @throws StoreError `bad-options` naming the file
 */
export function readKeyring(path: string): Keyring {
  let text: string;
  try {
    text = readPrivateFile(path);
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw new StoreError('bad-options', `cannot read ${path}: ${String(error)}`, { cause: error });
  }
  try {
    return Keyring.parse(text);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new StoreError('bad-options', `${path}: ${error.message}`, { cause: error });
  }
}

/** What is looked at is what is read, even when the path changes in between. */
function readPrivateFile(path: string): string {
  const file = openSync(path, 'r');
  try {
    const { mode, size } = fstatSync(file);
    if ((mode & OTHERS) !== 0) {
      throw new StoreError('bad-options', `${path} is open to all users: chmod o-rwx it`);
    }
    if (size > KEY_FILE_BYTES_MAX) {
      throw new StoreError('bad-options', `${path} is larger than ${KEY_FILE_BYTES_MAX / 1024} KiB`);
    }
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

function wrongKeys(message: string): StoreError {
  return new StoreError('bad-options', message);
}

function cannotOpen(cause?: unknown): ServiceError {
  const options = cause === undefined ? {} : { cause };
  return new ServiceError(
    'unavailable',
    'the secret was changed, or sealed for another configuration',
    options,
  );
}
