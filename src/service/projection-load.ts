import type { Kv, KvConsistency, KvRangeAnswer, KvRow } from '../kv/kv.ts';
import { prefixEnd } from '../lib/range-end.ts';
import { HEAD_KEY, PREFIXES, versionKey } from './keyspace.ts';
import { ProjectionState, type WholeConfiguration } from './projection-state.ts';
import { decodeConfiguration, decodeVersion, encodeWhole, RowError } from './rows.ts';

/** Rows of one page. */
const PAGE_ROWS = 1_000;

/** What is kept in memory; versions, changes and the rest are read from the store. */
const LOADED = [
  PREFIXES.environment,
  PREFIXES.application,
  PREFIXES.applicationOrder,
  PREFIXES.changeSet,
  PREFIXES.configuration,
  PREFIXES.flag,
  PREFIXES.segment,
];

/** What a load needs to know. */
export interface LoadOptions {
  readonly signal: AbortSignal;
  readonly consistency: KvConsistency;
  /** A row that cannot be read, which is left out. */
  readonly onUnreadable: (key: string, error: RowError) => void;
}

/**
 * Reads everything that the projection keeps, at one revision.
 *
 * @throws KvError `compacted` when that revision went while it was read
 */
export async function loadState(
  kv: Kv,
  options: LoadOptions,
): Promise<{ readonly state: ProjectionState; readonly revision: number }> {
  const { signal, consistency } = options;
  const call = { principal: { type: 'service' }, signal } as const;
  const head = await kv.range({ key: HEAD_KEY, consistency }, call);
  const { revision } = head;
  const state = new ProjectionState();
  for (const row of head.rows) state.put(row);
  for (const prefix of LOADED) {
    for await (const row of rowsOf(kv, { prefix, revision, signal })) {
      await takeRow(kv, state, { row, revision, options });
    }
  }
  return { state, revision };
}

async function takeRow(
  kv: Kv,
  state: ProjectionState,
  {
    row,
    revision,
    options,
  }: { readonly row: KvRow; readonly revision: number; readonly options: LoadOptions },
): Promise<void> {
  try {
    if (!isConfigurationKey(row.key)) {
      state.put(row);
      return;
    }
    const whole = wholeOf(row) ?? (await completed(kv, row, { revision, signal: options.signal }));
    if (whole !== null) state.putConfiguration(whole);
  } catch (error) {
    if (!(error instanceof RowError)) throw error;
    options.onUnreadable(row.key.toString(), error);
  }
}

export function isConfigurationKey(key: Buffer): boolean {
  return key.toString().startsWith(PREFIXES.configuration);
}

/** The configuration when its row holds it whole, else null. @throws RowError */
export function wholeOf(row: Pick<KvRow, 'value' | 'modRevision'>): WholeConfiguration | null {
  const decoded = decodeConfiguration(row.value);
  if (!decoded.isWhole) return null;
  return { configuration: decoded.configuration, bytes: row.value, modRevision: row.modRevision };
}

/**
 * Of a row without its value, with the value of its version.
 *
 * @param at.revision 0 = now
 * @returns null when the version is gone, which only happens when there is a newer row
 * @throws KvError, RowError
 */
export async function completed(
  kv: Kv,
  row: Pick<KvRow, 'value' | 'modRevision'>,
  { revision, signal }: { readonly revision: number; readonly signal: AbortSignal },
): Promise<WholeConfiguration | null> {
  const decoded = decodeConfiguration(row.value);
  const { configuration } = decoded;
  const answer = await kv.range(
    {
      key: versionKey(configuration.id, configuration.version),
      consistency: { type: 'linearizable' },
      revision,
    },
    { principal: { type: 'service' }, signal },
  );
  const [found] = answer.rows;
  if (found === undefined) return null;
  const whole = { ...configuration, value: decodeVersion(found.value).value };
  return { configuration: whole, bytes: encodeWhole(whole), modRevision: row.modRevision };
}

/** Where a page begins, and where the ones that are read together with it end, nearest first. */
interface Place {
  readonly key: Buffer;
  readonly ends: readonly Buffer[];
}

/**
 * All rows of a prefix at one revision, page by page; while one is taken the next one is under way.
 *
 * @throws KvError `compacted`
 */
async function* rowsOf(
  kv: Kv,
  {
    prefix,
    revision,
    signal,
  }: { readonly prefix: string; readonly revision: number; readonly signal: AbortSignal },
): AsyncGenerator<KvRow> {
  const ask = ({ key, ends }: Place): Promise<KvRangeAnswer> => {
    const answer = kv.range(
      { key, rangeEnd: ends[0]!, revision, limit: PAGE_ROWS, consistency: { type: 'serializable' } },
      { principal: { type: 'service' }, signal },
    );
    // Whoever takes the rows may stop before it is waited for.
    answer.catch(() => undefined);
    return answer;
  };
  let ends: readonly Buffer[] = [prefixEnd(Buffer.from(prefix))];
  let asked: Promise<KvRangeAnswer> | null = ask({ key: Buffer.from(prefix), ends });
  for (let isFirst = true; asked !== null; isFirst = false) {
    const page: KvRangeAnswer = await asked;
    if (isFirst && prefix === PREFIXES.configuration) ends = endsOfParts(page.count);
    const next = placeAfter(page, ends);
    asked = next === null ? null : ask(next);
    yield* page.rows;
    if (next !== null) ends = next.ends;
  }
}

function placeAfter({ rows, more }: KvRangeAnswer, ends: readonly Buffer[]): Place | null {
  const last = rows.at(-1);
  if (more && last !== undefined) {
    const after = Buffer.concat([last.key, Buffer.from([0])]);
    // The first page knew nothing of parts, and may have gone beyond some.
    return { key: after, ends: ends.filter((end) => Buffer.compare(after, end) < 0) };
  }
  return ends.length > 1 ? { key: ends[0]!, ends: ends.slice(1) } : null;
}

/**
 * Every page makes the store count the range to its end. So many configurations are therefore read in parts, at most two
 * for each page: their ids are hashes in hexadecimal digits, and spread evenly.
 */
function endsOfParts(count: number): readonly Buffer[] {
  let digits = 0;
  while (16 ** (digits + 1) <= (2 * count) / PAGE_ROWS) digits += 1;
  const parts = 16 ** digits;
  return Array.from({ length: parts }, (_, part) =>
    part === parts - 1
      ? prefixEnd(Buffer.from(PREFIXES.configuration))
      : Buffer.from(`${PREFIXES.configuration}${(part + 1).toString(16).padStart(digits, '0')}`),
  );
}
