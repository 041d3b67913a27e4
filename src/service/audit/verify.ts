import type { Kv } from '../../kv/kv.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import { PREFIXES } from '../keyspace.ts';
import { RowError } from '../rows.ts';
import { CHAIN_START, linkedAll, MISSING, recordHash, type SealEntry } from './chain.ts';
import { blocksAfter, readChangeRows, readSealHead } from './change-log.ts';
import { NOTHING_SEALED, type SealBlock, type SealHead } from './seal-rows.ts';

/** Something that is not as it was sealed. */
export interface AuditFinding {
  readonly type: /** The record is not there any more. */
    | 'removed'
    /** The record is another one, or was put again. */
    | 'changed'
    /** It was gone or put again before it could be sealed. */
    | 'lost-before-sealing'
    /** A record that is as old as sealed ones, and was not sealed with them. */
    | 'not-sealed'
    /** The chain itself does not fit together. */
    | 'chain';
  /** Of the change; of the chain where it breaks. */
  readonly revision: number;
  /** Of the change; null of the chain. */
  readonly id: string | null;
  readonly message: string;
}

/** An end of the chain that somebody wrote down: all that came before it must still lead there. */
export interface Anchor {
  readonly count: number;
  readonly link: string;
}

/** What was looked at, and what was found. */
export interface AuditReport {
  /** Changes that the chain holds. */
  readonly sealed: number;
  /** Changes that are not sealed yet: the newest. */
  readonly unsealed: number;
  /** The end of the chain as it is now, to be written down outside. */
  readonly anchor: Anchor;
  /** The first 1,000. */
  readonly findings: readonly AuditFinding[];
  /** All of them. */
  readonly findingCount: number;
}

/** Findings that a report holds. */
export const FINDINGS_MAX = 1_000;

const PAGE_KEYS = 10_000;

/**
 * Checks every sealed change against its record, and the chain against itself and against what was written down of it.
 * Bytes of earlier blocks are read once, whatever was compacted.
 *
 * @param options.anchor what the chain must lead through
 * @throws KvError
 */
export async function verifyAudit(
  kv: Kv,
  options: { readonly signal: AbortSignal; readonly anchor?: Anchor | undefined },
): Promise<AuditReport> {
  return new Verification(kv, options).run();
}

class Verification {
  readonly #kv: Kv;
  readonly #signal: AbortSignal;
  readonly #anchor: Anchor | null;
  readonly #findings: AuditFinding[] = [];
  readonly #sealedIds = new Set<string>();
  #findingCount = 0;
  #count = 0;
  #link = CHAIN_START;
  #revision = 0;
  #isAnchored = false;

  constructor(
    kv: Kv,
    { signal, anchor }: { readonly signal: AbortSignal; readonly anchor?: Anchor | undefined },
  ) {
    this.#kv = kv;
    this.#signal = signal;
    this.#anchor = anchor ?? null;
    this.#isAnchored = this.#anchor === null || this.#anchor.count === 0;
  }

  async run(): Promise<AuditReport> {
    const head = await this.#checkChain();
    const unsealed = await this.#checkOthers(head);
    if (!this.#isAnchored) this.#broken('the chain does not reach what was written down of it');
    return {
      sealed: head.count,
      unsealed,
      anchor: { count: head.count, link: head.link },
      findings: this.#findings,
      findingCount: this.#findingCount,
    };
  }

  async #checkChain(): Promise<SealHead> {
    let head = NOTHING_SEALED;
    try {
      head = (await readSealHead(this.#kv, this.#signal)).head;
      for await (const block of blocksAfter(this.#kv, 0, this.#signal)) {
        // Blocks that were filled since the head was read come another time.
        if (block.position + block.entries.length > head.count) break;
        await this.#checkBlock(block);
      }
      // What the head had open may have become a block meanwhile: it is checked as the head had it.
      if (head.open.entries.length > 0) await this.#checkBlock(head.open);
      this.#checkHead(head);
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      this.#broken(`the chain cannot be followed further: ${error.message}`);
    }
    return head;
  }

  async #checkBlock({ position, before, entries }: SealBlock): Promise<void> {
    if (position !== this.#count) this.#broken('a block is missing, or there is one too many');
    else if (before !== this.#link) this.#broken('a block does not follow from the one before');
    this.#count = position;
    this.#link = before;
    for (const entry of entries) this.#checkEntry(entry);
    const rows = await readChangeRows(this.#kv, entries, this.#signal);
    for (const [at, entry] of entries.entries()) await this.#checkRecord(entry, rows[at]?.value ?? null);
  }

  #checkEntry(entry: SealEntry): void {
    if (entry.revision <= this.#revision) this.#broken('changes are not in the order of their revisions');
    this.#revision = entry.revision;
    this.#count += 1;
    this.#link = linkedAll(this.#link, [entry]);
    this.#sealedIds.add(entry.id);
    if (this.#anchor === null || this.#count !== this.#anchor.count) return;
    this.#isAnchored = true;
    if (this.#link !== this.#anchor.link) this.#broken('the chain is another one than was written down');
  }

  async #checkRecord({ revision, id, hash }: SealEntry, bytes: Buffer | null): Promise<void> {
    if (hash === MISSING) {
      this.#find({
        type: 'lost-before-sealing',
        revision,
        id,
        message: 'it was gone before it could be sealed',
      });
      return;
    }
    if (bytes !== null && recordHash(bytes) === hash) return;
    const isThere = bytes !== null || (await this.#isThere(id));
    if (isThere) this.#find({ type: 'changed', revision, id, message: 'the record is not what was sealed' });
    else this.#find({ type: 'removed', revision, id, message: 'the record is not there' });
  }

  async #isThere(id: string): Promise<boolean> {
    const key = Buffer.from(`${PREFIXES.change}${id}`);
    const answer = await this.#kv.range(
      { key, keysOnly: true, consistency: { type: 'linearizable' } },
      { principal: { type: 'service' }, signal: this.#signal },
    );
    return answer.rows.length > 0;
  }

  #checkHead({ count, revision, link }: SealHead): void {
    if (count !== this.#count || revision !== this.#revision || link !== this.#link) {
      this.#broken('the end of the chain is not what its head says');
    }
  }

  /** Records that the chain does not have: those behind its end will be sealed, others should have been. */
  async #checkOthers(head: SealHead): Promise<number> {
    const prefix = Buffer.from(PREFIXES.change);
    let unsealed = 0;
    let key = prefix;
    for (;;) {
      const page = await this.#kv.range(
        {
          key,
          rangeEnd: prefixEnd(prefix),
          limit: PAGE_KEYS,
          keysOnly: true,
          consistency: { type: 'linearizable' },
        },
        { principal: { type: 'service' }, signal: this.#signal },
      );
      for (const row of page.rows) {
        const id = row.key.subarray(prefix.length).toString();
        if (row.modRevision > head.revision) unsealed += 1;
        else if (!this.#sealedIds.has(id)) {
          const message = 'the record is older than the end of the chain, and not in it';
          this.#find({ type: 'not-sealed', revision: row.modRevision, id, message });
        }
      }
      const last = page.rows.at(-1);
      if (!page.more || last === undefined) return unsealed;
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  #broken(message: string): void {
    this.#find({ type: 'chain', revision: this.#revision, id: null, message });
  }

  #find(finding: AuditFinding): void {
    this.#findingCount += 1;
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding);
  }
}
