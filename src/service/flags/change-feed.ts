import { type Kv, KvError } from '../../kv/kv.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import { HEAD_KEY, PREFIXES } from '../keyspace.ts';
import { asService, serviceErrorOf } from '../kv-errors.ts';
import type { ChangeRecord } from '../model.ts';
import type { Projection } from '../projection.ts';
import { decodeChange } from '../rows.ts';
import { ServiceError } from '../service-error.ts';

/** One change, in brief: its record tells the rest. */
export interface RecordedChange {
  readonly revision: number;
  readonly record: ChangeRecord;
}

/** Changes that one who comes back is told of when the store's own history of them is gone; beyond it `gone`. */
export const RECORDS_MAX = 10_000;

const CHANGES = {
  key: Buffer.from(PREFIXES.change),
  rangeEnd: prefixEnd(Buffer.from(PREFIXES.change)),
};

/** Every change after a revision, in order, each once, and on and on. */
export class ChangeFeed {
  readonly #kv: Kv;
  readonly #projection: Projection;

  constructor(kv: Kv, projection: Projection) {
    this.#kv = kv;
    this.#projection = projection;
  }

  /**
   * Ends when the signal is aborted. Nothing is kept for who is slow: what it has not taken it reads from the memory of
   * the projection, or from the store, when it does.
   *
   * @param options.isRelevant others are passed over
   * @throws ServiceError `gone` when more happened since than can be told, `unavailable`
   */
  async *follow(options: {
    readonly after: number;
    readonly isRelevant: (record: ChangeRecord) => boolean;
    readonly signal: AbortSignal;
  }): AsyncGenerator<RecordedChange, void, undefined> {
    const { isRelevant, signal } = options;
    const place = new Place(options.after);
    const unsubscribe = this.#projection.subscribe({
      changed: ({ revision, record }) => place.passed(revision, isRelevant(record)),
      jumped: ({ revision }) => place.passed(revision, true),
    });
    const wake = (): void => place.wake();
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted) {
        // Nothing may happen between finding that there is nothing and waiting for more.
        const known = this.#inMemory(place.revision);
        if (known?.length === 0) {
          await place.more();
          continue;
        }
        const { changes, revision: upTo } =
          known === null ? await this.#stored(place.revision, signal) : whole(known);
        for (const { revision, record } of changes) {
          if (signal.aborted) return;
          if (isRelevant(record)) yield { revision, record };
          place.revision = revision;
        }
        place.revision = Math.max(place.revision, upTo);
      }
    } finally {
      signal.removeEventListener('abort', wake);
      unsubscribe();
    }
  }

  /** Null when some of them were forgotten. */
  #inMemory(revision: number): readonly RecordedChange[] | null {
    try {
      return this.#projection.changesAfter(revision);
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'gone') return null;
      throw error;
    }
  }

  /** From the store, everything up to `revision`. */
  async #stored(after: number, signal: AbortSignal): Promise<Changes> {
    const known = this.#projection.revision;
    const call = { principal: { type: 'service' }, signal } as const;
    const head = await asService(
      this.#kv.range({ key: HEAD_KEY, keysOnly: true, consistency: { type: 'linearizable' } }, call),
    );
    const newest = head.rows[0]?.modRevision ?? 0;
    await this.#projection.reach(newest, signal);
    const upTo = Math.max(newest, known);
    if (newest <= after) return { changes: [], revision: upTo };
    try {
      const changes = await this.#watched({ after, newest, signal });
      const last = changes.at(-1)?.revision ?? after;
      return { changes, revision: last >= newest ? Math.max(last, upTo) : last };
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== 'compacted') throw serviceErrorOf(error);
      return { changes: await this.#ranged(after, signal), revision: upTo };
    }
  }

  /** While the store still has its history. Every change puts a record, the newest too. @throws KvError */
  async #watched({
    after,
    newest,
    signal,
  }: {
    readonly after: number;
    readonly newest: number;
    readonly signal: AbortSignal;
  }): Promise<readonly RecordedChange[]> {
    const found: RecordedChange[] = [];
    const watch = this.#kv.watch(
      { ...CHANGES, startRevision: after + 1 },
      { principal: { type: 'service' }, signal },
    );
    for await (const { revision, events } of watch) {
      for (const { type, row } of events) if (type === 'put') found.push(recorded(row));
      if (revision >= newest || found.length >= RECORDS_MAX) break;
    }
    return found;
  }

  /** Those that are still there behind a compaction, which are all. */
  async #ranged(after: number, signal: AbortSignal): Promise<readonly RecordedChange[]> {
    const { rows, more } = await asService(
      this.#kv.range(
        { ...CHANGES, minModRevision: after + 1, limit: RECORDS_MAX, consistency: { type: 'linearizable' } },
        { principal: { type: 'service' }, signal },
      ),
    );
    if (more) throw new ServiceError('gone', `more than ${RECORDS_MAX} changes came after revision ${after}`);
    return rows.map(recorded).sort((left, right) => left.revision - right.revision);
  }
}

/** Everything that happened up to a revision. */
interface Changes {
  readonly changes: readonly RecordedChange[];
  readonly revision: number;
}

function whole(changes: readonly RecordedChange[]): Changes {
  return { changes, revision: 0 };
}

/** How far somebody is. */
class Place {
  revision: number;
  /** Everything up to now was taken. */
  #isWaiting = false;
  #wake: () => void = () => undefined;

  constructor(revision: number) {
    this.revision = revision;
  }

  /** Something happened: who waits for nothing of the kind need not look at it. */
  passed(revision: number, isRelevant: boolean): void {
    if (!this.#isWaiting || revision <= this.revision) return;
    if (isRelevant) this.wake();
    else this.revision = revision;
  }

  wake(): void {
    this.#isWaiting = false;
    this.#wake();
  }

  more(): Promise<void> {
    this.#isWaiting = true;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

function recorded(row: { readonly value: Buffer; readonly modRevision: number }): RecordedChange {
  return { revision: row.modRevision, record: decodeChange(row.value) };
}
