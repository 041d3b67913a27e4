import type { KeyValue } from '../../src/core/mvcc/operations.ts';
import { assert } from '../../src/lib/assert.ts';
import type { CommittedRevision } from './history.ts';
import { type KvView, nameOf, type Span } from './kv-model.ts';

interface Version {
  readonly revision: number;
  /** Null = deleted. */
  readonly kv: KeyValue | null;
}

/**
 * The store at every revision of a committed history at once. It knows neither compactions nor leases: nothing is
 * compacted, and every lease is there.
 */
export class VersionedStore {
  /** Oldest first; of several changes in one revision the last stays. */
  readonly #versions = new Map<string, Version[]>();
  readonly #names: readonly string[];
  readonly revision: number;

  /** @param committed whole, from revision 2 on */
  constructor(committed: readonly CommittedRevision[]) {
    for (const { revision, events } of committed) {
      for (const event of events)
        this.#add(nameOf(event.kv.key), revision, event.type === 'put' ? event.kv : null);
    }
    this.#names = [...this.#versions.keys()].sort();
    this.revision = committed.at(-1)?.revision ?? 1;
  }

  at(revision: number): KvView {
    assert(revision <= this.revision, 'a revision of the history');
    return {
      revision,
      compactRevision: -1,
      get: (key) => this.#get(key, revision),
      scan: (span) => this.#scan(span, revision),
      at: (earlier) => this.at(earlier),
      hasLease: () => true,
    };
  }

  #add(name: string, revision: number, kv: KeyValue | null): void {
    let versions = this.#versions.get(name);
    if (versions === undefined) {
      versions = [];
      this.#versions.set(name, versions);
    }
    if (versions.at(-1)?.revision === revision) versions.pop();
    versions.push({ revision, kv });
  }

  #get(name: string, revision: number): KeyValue | undefined {
    const versions = this.#versions.get(name);
    if (versions === undefined) return undefined;
    const after = countUntil(versions.length, (index) => versions[index]!.revision <= revision);
    return versions[after - 1]?.kv ?? undefined;
  }

  #scan({ key, end }: Span, revision: number): KeyValue[] {
    const kvs: KeyValue[] = [];
    const names = this.#names;
    for (let at = countUntil(names.length, (index) => names[index]! < key); at < names.length; at++) {
      const name = names[at]!;
      if (end !== null && name >= end) break;
      const kv = this.#get(name, revision);
      if (kv !== undefined) kvs.push(kv);
    }
    return kvs;
  }
}

/** How many from the start satisfy `before`, which holds up to some point and not after it. */
function countUntil(length: number, before: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
