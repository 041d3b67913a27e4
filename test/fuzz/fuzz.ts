import { isDeepStrictEqual } from 'node:util';
import { Prng } from '../sim/prng.ts';

/**
 * Seeded fuzzing of everything that takes bytes from outside or from a disk. Inputs are valid bytes with damage,
 * half of them with their checksums made to fit again, and plain noise. What must hold for each: the decoder ends
 * soon, with a value or with one of its own errors, takes no more memory than a small multiple of its input, and what it
 * accepts means the same after it was encoded again.
 */
export interface Target<T> {
  readonly name: string;
  /** Valid inputs. */
  readonly seeds: readonly Buffer[];
  decode(bytes: Buffer): T | Promise<T>;
  /** The decoder's documented failures. */
  allows(error: unknown): boolean;
  /** Bytes that decode to the same value. Absent for what has no bytes to go back to. */
  encode?(value: T): Buffer | Promise<Buffer>;
  /** Makes the checksums in damaged bytes fit again, so that the damage reaches what lies behind them. */
  reseal?(bytes: Buffer): void;
  /** What one call may allocate as Buffers, in bytes for each byte of input, besides `ALLOWANCE_BYTES`. */
  readonly allocationFactor?: number;
  /** The longest that one call may take, in ms, instead of `TIME_MS_MAX`. */
  readonly timeMsMax?: number;
  /** Executions in relation to other targets; below 1 for the slow ones. */
  readonly share?: number;
}

export interface FuzzReport {
  readonly executions: number;
  readonly accepted: number;
  readonly slowestMs: number;
  readonly totalMs: number;
}

const INPUT_BYTES_MAX = 64 * 1024;
const NOISE_BYTES_MAX = 256;
const NOISE_PERCENT = 15;
const RESEAL_PERCENT = 60;
const DAMAGES_MAX = 4;
/** How many kinds of damage there are, and how many of them, the first ones, move nothing. */
const DAMAGE_KINDS = 9;
const IN_PLACE_KINDS = 4;
const ALLOCATION_FACTOR = 16;
/** An input of at most 64 KiB takes far less on the busiest machine. What never ends, the run's own time limit ends. */
const TIME_MS_MAX = 10_000;
/** Besides: first pieces of frames, and the buffer that the packer shares between its answers. */
const ALLOWANCE_BYTES = 2 * 1024 * 1024;

/**
 * Feeds `rounds` inputs (times its share) to a target. The same seed gives the same inputs.
 *
 * @throws Error that shows the input, when a rule is broken
 */
export async function fuzz<T>(
  target: Target<T>,
  options: { readonly seed: number; readonly rounds: number },
): Promise<FuzzReport> {
  const prng = new Prng(options.seed, nameNumber(target.name));
  const executions = Math.max(50, Math.floor(options.rounds * (target.share ?? 1)));
  const times = { slowestMs: 0, totalMs: 0 };
  let accepted = 0;
  for (const seed of target.seeds) await execute(target, seed, { times, mustAccept: true });
  for (let i = 0; i < executions; i++) {
    const input = nextInput(target, prng);
    if (await execute(target, input, { times, mustAccept: false })) accepted += 1;
  }
  return { executions: executions + target.seeds.length, accepted, ...times };
}

interface Execution {
  readonly times: { slowestMs: number; totalMs: number };
  readonly mustAccept: boolean;
}

/** Returns whether the input was accepted. */
async function execute<T>(
  target: Target<T>,
  input: Buffer,
  { times, mustAccept }: Execution,
): Promise<boolean> {
  const counter = new AllocationCounter();
  const startedMs = performance.now();
  const outcome = await outcomeOf(counter, () => target.decode(Buffer.from(input)));
  const ms = performance.now() - startedMs;
  times.totalMs += ms;
  times.slowestMs = Math.max(times.slowestMs, ms);
  if (ms > (target.timeMsMax ?? TIME_MS_MAX)) throw broken(target, input, `took ${Math.round(ms)} ms`);
  const bytesMax = ALLOWANCE_BYTES + input.length * (target.allocationFactor ?? ALLOCATION_FACTOR);
  if (counter.bytes > bytesMax) throw broken(target, input, `allocated ${counter.bytes} bytes`);
  if (!outcome.ok) {
    if (target.allows(outcome.error) && !mustAccept) return false;
    throw broken(target, input, 'failed otherwise than by its own error', outcome.error);
  }
  if (target.encode === undefined) return true;
  try {
    const again = await target.decode(await target.encode(outcome.value));
    if (!isDeepStrictEqual(again, outcome.value)) {
      throw new Error(`${show(outcome.value)} became ${show(again)}`);
    }
  } catch (error) {
    throw broken(target, input, 'accepted what does not come back the same', error);
  }
  return true;
}

type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

async function outcomeOf<T>(counter: AllocationCounter, decode: () => T | Promise<T>): Promise<Outcome<T>> {
  counter.install();
  try {
    return { ok: true, value: await decode() };
  } catch (error) {
    return { ok: false, error };
  } finally {
    counter.remove();
  }
}

function broken(target: { readonly name: string }, input: Buffer, problem: string, cause?: unknown): Error {
  const reason = cause instanceof Error ? `: ${cause.name}: ${cause.message}` : '';
  const shown = input.length > 4096 ? `${input.subarray(0, 4096).toString('hex')}...` : input.toString('hex');
  return new Error(`${target.name} ${problem}${reason}\ninput of ${input.length} bytes: ${shown}`, { cause });
}

function show(value: unknown): string {
  const text = JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `${each}n` : each));
  return text === undefined ? 'undefined' : text.slice(0, 500);
}

// ---- inputs -------------------------------------------------------------------------------------------------

function nextInput<T>(target: Target<T>, prng: Prng): Buffer {
  if (prng.chance(NOISE_PERCENT)) return noise(prng, NOISE_BYTES_MAX);
  let bytes: Buffer = Buffer.from(prng.pick(target.seeds));
  const count = 1 + prng.integer(DAMAGES_MAX);
  // What keeps every byte in its place gets deepest into formats of fixed layout.
  const kinds = prng.chance(50) ? IN_PLACE_KINDS : DAMAGE_KINDS;
  for (let i = 0; i < count; i++) bytes = damaged(bytes, { others: target.seeds, prng, kinds });
  if (bytes.length > INPUT_BYTES_MAX) bytes = bytes.subarray(0, INPUT_BYTES_MAX);
  if (target.reseal !== undefined && prng.chance(RESEAL_PERCENT)) target.reseal(bytes);
  return bytes;
}

export function noise(prng: Prng, bytesMax: number): Buffer {
  const bytes = Buffer.alloc(prng.integer(bytesMax + 1));
  for (let i = 0; i < bytes.length; i++) bytes[i] = prng.integer(256);
  return bytes;
}

/** One damage: flipped bits, changed bytes or lengths, something cut out, doubled, moved or brought in from elsewhere. */
export function damaged(
  bytes: Buffer,
  options: { readonly others: readonly Buffer[]; readonly prng: Prng; readonly kinds?: number },
): Buffer {
  const { others, prng, kinds = DAMAGE_KINDS } = options;
  if (bytes.length === 0) return noise(prng, 16);
  const at = prng.integer(bytes.length);
  const [from, to] = [prng.integer(bytes.length + 1), prng.integer(bytes.length + 1)].sort(
    (a, b) => a - b,
  ) as [number, number];
  const piece = bytes.subarray(from, Math.min(to, from + 512));
  switch (prng.integer(kinds)) {
    case 0:
      bytes[at]! ^= 1 << prng.integer(8);
      return bytes;
    case 1:
      bytes[at] = prng.pick([0, 1, 0x7f, 0x80, 0xc0, 0xff, prng.integer(256)]);
      return bytes;
    case 2:
    case 3:
      return withClaim(bytes, at, prng);
    case 4:
      return bytes.subarray(0, at);
    case 5:
      return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + piece.length)]);
    case 6:
      return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
    case 7:
      return Buffer.concat([bytes.subarray(0, at), noise(prng, 8), bytes.subarray(at)]);
    default: {
      const other = prng.pick(others);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(prng.integer(other.length + 1))]);
    }
  }
}

/** Writes a number that a length, a count or an id might be, of any width and in either order of bytes. */
function withClaim(bytes: Buffer, at: number, prng: Prng): Buffer {
  const width = prng.pick([1, 2, 4, 4, 8]);
  if (at + width > bytes.length) return bytes;
  const left = bytes.length - at;
  const claims = [
    0,
    1,
    2,
    left - width,
    left,
    left + 1,
    2 ** 16,
    2 ** 24,
    2 ** 31 - 1,
    2 ** 32 - 1,
    2 ** 53 - 1,
    2 ** 53,
    2 ** 62,
  ];
  const claim = BigInt.asUintN(width * 8, BigInt(Math.max(0, prng.pick(claims))));
  const written = Buffer.alloc(8);
  written.writeBigUInt64BE(claim);
  const tail = written.subarray(8 - width);
  if (prng.chance(50)) tail.reverse();
  tail.copy(bytes, at);
  return bytes;
}

/** A generator's salt from a name, so that a new target does not change the inputs of the others. */
function nameNumber(name: string): number {
  let number = 0;
  for (const character of name) number = (Math.imul(number, 31) + character.codePointAt(0)!) >>> 0;
  return number;
}

// ---- memory -------------------------------------------------------------------------------------------------

const MAKERS = ['alloc', 'allocUnsafe', 'allocUnsafeSlow', 'from'] as const;
type Maker = (...args: readonly unknown[]) => Buffer;

/** Counts the bytes of every Buffer that is made while it is installed, by whoever makes it. */
class AllocationCounter {
  bytes = 0;
  #originals: readonly Maker[] = [];

  install(): void {
    const makers = Buffer as unknown as Record<string, Maker>;
    this.#originals = MAKERS.map((name) => makers[name]!);
    for (const [i, name] of MAKERS.entries()) {
      const original = this.#originals[i]!;
      makers[name] = (...args) => {
        // Before the memory is there: a claim of many gigabytes would end the process first.
        if (typeof args[0] === 'number') this.bytes += args[0];
        if (this.bytes > ABSURD_BYTES) throw new RangeError(`a decoder asked for ${this.bytes} bytes`);
        const made = original.apply(Buffer, args as unknown[]);
        if (typeof args[0] !== 'number') this.bytes += made.length;
        return made;
      };
    }
  }

  remove(): void {
    const makers = Buffer as unknown as Record<string, Maker>;
    for (const [i, name] of MAKERS.entries()) makers[name] = this.#originals[i]!;
  }
}

const ABSURD_BYTES = 256 * 1024 * 1024;
