import { InvalidArgumentError } from 'commander';
import type { KeyRange } from '../client/types.ts';
import { ALL_FROM, prefixEnd } from '../lib/range-end.ts';

/** Words of the command line as values; what is no such value is refused with the reason. */

/** Keys and values are bytes; the shell gives text. */
export function bytes(text: string): Buffer {
  return Buffer.from(text, 'utf8');
}

export function naturalNumber(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It is not a whole number.');
  return value;
}

export function positiveSeconds(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text);
  const seconds = match === null ? 0 : Number(match[1]) * { ms: 0.001, s: 1, m: 60 }[match[2] ?? 's']!;
  if (seconds <= 0 || seconds > 86_400)
    throw new InvalidArgumentError('It is not a duration such as 5s, 500ms or 2m.');
  return seconds;
}

export function memberId(text: string): bigint {
  if (!/^(0x)?[0-9a-f]{1,16}$/i.test(text))
    throw new InvalidArgumentError('It is not a member id in hexadecimal.');
  return BigInt(`0x${text.replace(/^0x/i, '')}`);
}

/** Hexadecimal, as etcd's tools print leases; the upper half of the range are negative ids. */
export function leaseId(text: string): bigint {
  if (!/^(0x)?[0-9a-f]{1,16}$/i.test(text))
    throw new InvalidArgumentError('It is not a lease id in hexadecimal.');
  return BigInt.asIntN(64, BigInt(`0x${text.replace(/^0x/i, '')}`));
}

export interface RangeFlags {
  readonly prefix?: boolean;
  readonly fromKey?: boolean;
}

/**
 * The range that a key, an end and the flags name.
 *
 * @throws Error when they contradict each other
 */
export function keyRange(key: string, end: string | undefined, flags: RangeFlags): KeyRange {
  if ([end !== undefined, flags.prefix, flags.fromKey].filter(Boolean).length > 1) {
    throw new UsageError('only one of an end of the range, --prefix and --from-key can be given');
  }
  // The empty key names no key; with a flag it stands for the very first.
  const start = key === '' && (flags.prefix || flags.fromKey) ? Buffer.from([0]) : bytes(key);
  if (flags.fromKey) return { key: start, rangeEnd: ALL_FROM };
  if (flags.prefix) return { key: start, rangeEnd: prefixEnd(bytes(key)) };
  return end === undefined ? { key: start } : { key: start, rangeEnd: bytes(end) };
}

/** Words that make no sense together: the command was not tried. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
