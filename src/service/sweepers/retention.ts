import type { Kv, KvCall, KvRow } from '../../kv/kv.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import { readVersions } from '../configurations/versions.ts';
import type { ServiceContext } from '../context.ts';
import { PREFIXES, versionKey } from '../keyspace.ts';
import { type HeldLock, underLock } from './sweep-lock.ts';

/** Which versions are kept. The present one of each configuration always is, and so is its number. */
export interface Retention {
  /** Versions that another one took the place of within so many ms are kept; null = all are, forever. */
  readonly keepMs: number | null;
  /** Versions of one configuration, the present one included; null = any number. Younger ones go, too. */
  readonly countMax: number | null;
  /** Bytes of the rows of one configuration's versions; null = any. Younger ones go, too. */
  readonly bytesMax: number | null;
}

/** @param days that versions are kept which another one took the place of; null = for ever */
export function keptForDays(days: number | null): Retention {
  return { keepMs: days === null ? null : days * 86_400_000, countMax: null, bytesMax: null };
}

/** A year and a day: 12 months, whichever they are. */
export const RETENTION_DEFAULT: Retention = keptForDays(366);

/** Keys that are read at a time. */
const PAGE_KEYS = 1_000;
/** Of one configuration, old versions that are read at a time. */
const OLD_VERSIONS = 50;
/** Versions that one transaction deletes. */
const DELETES_MAX = 100;

/** The versions of one configuration, oldest first. */
interface Numbers {
  readonly id: string;
  readonly versions: readonly number[];
}

/**
 * Deletes the versions that are kept no longer. Change records stay.
 *
 * @returns how many; 0 also while another server does it
 * @throws KvError, ServiceError
 */
export async function sweepVersions(
  context: ServiceContext,
  retention: Retention,
  signal: AbortSignal,
): Promise<number> {
  const { keepMs, countMax, bytesMax } = retention;
  if (keepMs === null && countMax === null && bytesMax === null) return 0;
  const swept = await underLock(context.kv, { name: 'retention', signal }, async (lock) => {
    let count = 0;
    for await (const numbers of numbersOf(context.kv, signal)) {
      if (numbers.versions.length < 2) continue;
      const old = await outdated(context, { numbers, retention, signal });
      if (old.length === 0) continue;
      if (
        !(await lock.renew()) ||
        !(await deleteVersions(context.kv, { id: numbers.id, old, lock, signal }))
      ) {
        return count;
      }
      count += old.length;
    }
    return count;
  });
  return swept ?? 0;
}

/** Every configuration with the numbers of its versions; the keys lie in that order. */
async function* numbersOf(kv: Kv, signal: AbortSignal): AsyncGenerator<Numbers> {
  let current: { id: string; versions: number[] } | null = null;
  for await (const { key } of versionKeys(kv, signal)) {
    const [id, number] = key.toString().slice(PREFIXES.version.length).split('/') as [string, string];
    if (current !== null && current.id !== id) {
      yield current;
      current = null;
    }
    current ??= { id, versions: [] };
    current.versions.push(Number(number));
  }
  if (current !== null) yield current;
}

async function* versionKeys(kv: Kv, signal: AbortSignal): AsyncGenerator<KvRow> {
  const rangeEnd = prefixEnd(Buffer.from(PREFIXES.version));
  let key = Buffer.from(PREFIXES.version);
  for (;;) {
    const page = await kv.range(
      { key, rangeEnd, limit: PAGE_KEYS, keysOnly: true, consistency: { type: 'serializable' } },
      serviceCall(signal),
    );
    yield* page.rows;
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) return;
    key = Buffer.concat([last.key, Buffer.from([0])]);
  }
}

/** The numbers of those that go, oldest first: never the last one. */
async function outdated(
  context: ServiceContext,
  {
    numbers,
    retention,
    signal,
  }: { readonly numbers: Numbers; readonly retention: Retention; readonly signal: AbortSignal },
): Promise<readonly number[]> {
  const { id, versions } = numbers;
  const replaceable = versions.slice(0, -1);
  const tooMany =
    retention.countMax === null ? 0 : Math.max(0, versions.length - Math.max(1, retention.countMax));
  const tooLarge =
    retention.bytesMax === null ? 0 : await beyondBytes(context.kv, { numbers, retention, signal });
  const surplus = Math.min(replaceable.length, Math.max(tooMany, tooLarge));
  const tooOld =
    retention.keepMs === null
      ? 0
      : await agedOut(context, { id, versions, keepMs: retention.keepMs, signal });
  return replaceable.slice(0, Math.max(surplus, tooOld));
}

/** How many of the oldest were replaced longer ago than `keepMs`: their age counts from the next version on. */
async function agedOut(
  { kv, clock }: ServiceContext,
  {
    id,
    versions,
    keepMs,
    signal,
  }: {
    readonly id: string;
    readonly versions: readonly number[];
    readonly keepMs: number;
    readonly signal: AbortSignal;
  },
): Promise<number> {
  const cutoffMs = clock.nowMs() - keepMs;
  // Version `at` was replaced when version `at + 1` was made.
  for (let at = 1; at < versions.length; at += OLD_VERSIONS) {
    const numbers = versions.slice(at, at + OLD_VERSIONS);
    const found = await readVersions(
      kv,
      numbers.map((version) => ({ id, version })),
      signal,
    );
    const young = found.findIndex(
      (stored) => stored === null || Date.parse(stored.version.createdAt) > cutoffMs,
    );
    if (young >= 0) return at - 1 + young;
  }
  return versions.length - 1;
}

/** How many of the oldest must go so that the others fit. */
async function beyondBytes(
  kv: Kv,
  {
    numbers,
    retention,
    signal,
  }: { readonly numbers: Numbers; readonly retention: Retention; readonly signal: AbortSignal },
): Promise<number> {
  const { id, versions } = numbers;
  let bytes = 0;
  for (let at = versions.length - 1; at >= 0; at -= 1) {
    const row = await kv.range(
      { key: versionKey(id, versions[at]!), consistency: { type: 'serializable' } },
      serviceCall(signal),
    );
    bytes += row.rows[0]?.value.length ?? 0;
    if (bytes > (retention.bytesMax ?? Infinity)) return at + 1;
  }
  return 0;
}

/** @returns false when the lock was lost */
async function deleteVersions(
  kv: Kv,
  {
    id,
    old,
    lock,
    signal,
  }: {
    readonly id: string;
    readonly old: readonly number[];
    readonly lock: HeldLock;
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  const { key, modRevision } = lock.guard;
  for (let at = 0; at < old.length; at += DELETES_MAX) {
    const answer = await kv.txn(
      {
        compare: [{ key, target: 'mod', result: 'equal', number: modRevision }],
        success: old
          .slice(at, at + DELETES_MAX)
          .map((version) => ({ type: 'delete', key: versionKey(id, version) }) as const),
        failure: [],
      },
      serviceCall(signal),
    );
    if (!answer.succeeded) return false;
  }
  return true;
}

function serviceCall(signal: AbortSignal): KvCall {
  return { principal: { type: 'service' }, signal };
}
