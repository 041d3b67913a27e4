import { type Kv, KvError, type KvOp } from '../../kv/kv.ts';
import { assert } from '../../lib/assert.ts';
import type { Logger } from '../../lib/logger.ts';
import { SEAL_HEAD_KEY, sealKey } from '../keyspace.ts';
import type { Projection } from '../projection.ts';
import { linkedAll, MISSING, recordHash, type SealEntry } from './chain.ts';
import { type ChangeId, readChangeRows, readSealHead, unsealedIds } from './change-log.ts';
import { BLOCK_ENTRIES, encodeBlock, encodeHead, type SealBlock, type SealHead } from './seal-rows.ts';

/** How often it seals what there is. */
const SEAL_MS = 1_000;
/** Sealed by one transaction: some 50 blocks of 7 KiB. */
const ENTRIES_MAX = 50 * BLOCK_ENTRIES;
/** Changes that wait in memory; beyond it they are looked for in the store. */
const PENDING_MAX = 100_000;
/** How often one round begins anew because another server came first. */
const RACES_MAX = 5;

/**
 * Chains the change records in the order of their revisions, behind the changes themselves and under no lock: whoever
 * swaps the head first has sealed, the others go on from there. Every server runs one.
 */
export class Sealer {
  readonly #kv: Kv;
  readonly #projection: Projection;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #unsubscribe: () => void;
  /** What is known to be made after `#pendingFrom`, oldest first. */
  #pending: ChangeId[] = [];
  #pendingFrom: number;
  /** Rows that the projection could not read: changes may be among them, which are sealed all the same. */
  #unreadable: number;
  /** Everything up to here is known to be sealed. */
  #sealed = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | null = null;

  constructor(kv: Kv, { projection, logger }: { readonly projection: Projection; readonly logger: Logger }) {
    this.#kv = kv;
    this.#projection = projection;
    this.#logger = logger;
    this.#pendingFrom = projection.revision;
    this.#unreadable = projection.unreadable;
    this.#unsubscribe = projection.subscribe({
      changed: ({ revision, record: { id } }) => this.#add({ revision, id }),
      jumped: ({ revision }) => this.#forget(revision),
    });
  }

  /** Seals from now on, once a second, until it is closed. */
  start(): void {
    this.#timer = setInterval(() => this.#tick(), SEAL_MS);
    this.#timer.unref();
  }

  /**
   * Seals everything that the projection has.
   *
   * @returns how many changes this server sealed
   * @throws KvError, RowError
   */
  async seal(signal: AbortSignal): Promise<number> {
    let count = 0;
    let races = 0;
    while (this.#projection.state.headRevision > this.#sealed && races < RACES_MAX) {
      const round = await this.#round(signal);
      if (round === null) races += 1;
      else if (round === 0) break;
      else count += round;
    }
    return count;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    clearInterval(this.#timer);
    this.#unsubscribe();
    await this.#running;
  }

  #tick(): void {
    this.#running ??= this.#try().finally(() => {
      this.#running = null;
    });
  }

  async #try(): Promise<void> {
    try {
      await this.seal(this.#stop.signal);
    } catch (error) {
      // The next second begins anew.
      if (!this.#stop.signal.aborted)
        this.#logger.warn({ error: String(error) }, 'changes could not be sealed');
    }
  }

  #add(change: ChangeId): void {
    const { unreadable } = this.#projection;
    if (change.revision <= this.#pendingFrom) {
      // Another server, which was further, has sealed it, and what came before it.
      this.#unreadable = unreadable;
      return;
    }
    this.#pending.push(change);
    if (this.#pending.length > PENDING_MAX || unreadable > this.#unreadable) this.#forget(change.revision);
    this.#unreadable = unreadable;
  }

  /** Up to the revision the store is asked. */
  #forget(revision: number): void {
    this.#pending = [];
    this.#pendingFrom = revision;
  }

  /** @returns how many were sealed; null when another server came first */
  async #round(signal: AbortSignal): Promise<number | null> {
    const { head, modRevision } = await readSealHead(this.#kv, signal);
    this.#isSealed(head.revision);
    const ids = (await this.#idsAfter(head.revision, signal)).slice(0, ENTRIES_MAX);
    if (ids.length === 0) return 0;
    const rows = await readChangeRows(this.#kv, ids, signal);
    const entries = ids.map(({ revision, id }, at): SealEntry => {
      const row = rows[at] ?? null;
      return { revision, id, hash: row === null ? MISSING : recordHash(row.value) };
    });
    const { next, blocks } = extended(head, entries);
    const succeeded = await this.#swap({ next, blocks, modRevision }, signal);
    if (!succeeded) return null;
    this.#isSealed(next.revision);
    return entries.length;
  }

  async #idsAfter(revision: number, signal: AbortSignal): Promise<readonly ChangeId[]> {
    if (revision >= this.#pendingFrom) return this.#pending;
    return unsealedIds(this.#kv, revision, signal);
  }

  #isSealed(revision: number): void {
    this.#sealed = Math.max(this.#sealed, revision);
    if (revision <= this.#pendingFrom) return;
    const first = this.#pending.findIndex((change) => change.revision > revision);
    this.#pending = first < 0 ? [] : this.#pending.slice(first);
    this.#pendingFrom = revision;
  }

  async #swap(
    {
      next,
      blocks,
      modRevision,
    }: { readonly next: SealHead; readonly blocks: readonly SealBlock[]; readonly modRevision: number },
    signal: AbortSignal,
  ): Promise<boolean> {
    const puts = blocks.map((block): KvOp => {
      return { type: 'put', key: sealKey(block.entries.at(-1)!.revision), value: encodeBlock(block) };
    });
    const key = SEAL_HEAD_KEY;
    try {
      const { succeeded } = await this.#kv.txn(
        {
          compare: [
            { key, target: modRevision === 0 ? 'create' : 'mod', result: 'equal', number: modRevision },
          ],
          success: [...puts, { type: 'put', key, value: encodeHead(next) }],
          failure: [],
        },
        { principal: { type: 'service' }, signal },
      );
      return succeeded;
    } catch (error) {
      // Whether it was done, the head will tell.
      if (error instanceof KvError && error.code === 'ambiguous') return false;
      throw error;
    }
  }
}

/** The head after more entries, and the blocks that became full. */
function extended(
  head: SealHead,
  entries: readonly SealEntry[],
): { readonly next: SealHead; readonly blocks: readonly SealBlock[] } {
  assert(entries[0]!.revision > head.revision, 'what is sealed came after what was sealed');
  const blocks: SealBlock[] = [];
  let { position, before } = head.open;
  let open = [...head.open.entries, ...entries];
  while (open.length >= BLOCK_ENTRIES) {
    const full = open.slice(0, BLOCK_ENTRIES);
    blocks.push({ position, before, entries: full });
    position += full.length;
    before = linkedAll(before, full);
    open = open.slice(BLOCK_ENTRIES);
  }
  const next = {
    count: position + open.length,
    revision: entries.at(-1)!.revision,
    link: linkedAll(before, open),
    open: { position, before, entries: open },
  };
  return { next, blocks };
}
