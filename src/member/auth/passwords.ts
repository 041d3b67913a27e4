import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { type Asker, Turns } from './turns.ts';

/** Hashes made at a time: each takes a thread of the pool that the disks need as well. */
const CONCURRENT_MAX = 2;
/** Hashes that wait for their turn; for one more the address that waits for most gives up one, or is refused. */
const WAITING_MAX = 256;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
/** scrypt's block size, and the memory it takes: 128 N r bytes. */
const BLOCK_SIZE = 8;
const BYTES_PER_ROUND = 128 * BLOCK_SIZE;
/** Stands before every hash: what made it. */
const SCHEME = 'scrypt';
/** A hash that no password fits, checked where there is no user: his absence must not show in the time taken. */
const NOBODY_SALT = Buffer.alloc(SALT_BYTES);

/** Each step doubles time and memory; 10 takes about 0.1 s and 32 MiB. */
export const PASSWORD_COST = { min: 4, default: 10, max: 13 } as const;

/** scrypt's N of a cost; at 4 it is 512, at 10 32,768. */
function rounds(cost: number): number {
  return 2 ** (cost + 5);
}

/**
 * Password hashes by scrypt (RFC 7914), made off the main thread, a few at a time. A hash says how it was made, so that
 * another cost can be set at any time.
 */
export class Passwords {
  readonly #cost: number;
  readonly #turns = new Turns({ concurrentMax: CONCURRENT_MAX, waitingMax: WAITING_MAX });

  /** @param cost within `PASSWORD_COST` */
  constructor(cost: number) {
    this.#cost = cost;
  }

  /** @throws StoreError `too-many-requests`, why the asker's signal was aborted */
  async hash(password: string, asker: Asker = {}): Promise<string> {
    const n = rounds(this.#cost);
    const salt = randomBytes(SALT_BYTES);
    const key = await this.#derive(password, { n, salt }, asker);
    return [SCHEME, n, salt.toString('base64'), key.toString('base64')].join('$');
  }

  /**
   * Whether the password is the one that was hashed. Takes as long for `null` (no such user, no password) as for any.
   *
   * @throws StoreError `too-many-requests`, why the asker's signal was aborted
   */
  async fits(password: string, hash: string | null, asker: Asker = {}): Promise<boolean> {
    const parts = hash === null ? null : parse(hash);
    if (parts === null) {
      await this.#derive(password, { n: rounds(this.#cost), salt: NOBODY_SALT }, asker);
      return false;
    }
    return timingSafeEqual(await this.#derive(password, parts, asker), parts.key);
  }

  #derive(
    password: string,
    made: { readonly n: number; readonly salt: Buffer },
    asker: Asker,
  ): Promise<Buffer> {
    const options = { N: made.n, r: BLOCK_SIZE, p: 1, maxmem: 2 * BYTES_PER_ROUND * made.n };
    return this.#turns.take(asker, () => scryptKey(password, made.salt, options));
  }
}

interface HashParts {
  readonly n: number;
  readonly salt: Buffer;
  readonly key: Buffer;
}

/** Null for what no password fits: an empty hash, or one made by no scheme we know. */
function parse(hash: string): HashParts | null {
  const [scheme, n, salt, key] = hash.split('$');
  const costs = n !== undefined && /^\d{1,9}$/.test(n) ? Number(n) : 0;
  if (scheme !== SCHEME || salt === undefined || key === undefined) return null;
  if (costs < rounds(PASSWORD_COST.min) || costs > rounds(PASSWORD_COST.max)) return null;
  const parts = { n: costs, salt: Buffer.from(salt, 'base64'), key: Buffer.from(key, 'base64') };
  return parts.key.length === KEY_BYTES && Number.isInteger(Math.log2(costs)) ? parts : null;
}

function scryptKey(password: string, salt: Buffer, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, KEY_BYTES, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
