import { StoreError } from '../../../src/lib/errors.ts';
import { OPERATOR } from '../auth-operator.ts';
import type { Cluster } from '../cluster.ts';
import { type Report, Violation } from '../violation.ts';
import type { AppliedLog } from './applied-log.ts';

/**
 * At rest, all members hold the same (RELIABILITY K10): equal HashKV, read from their disks. Their whole states, tables
 * included, `AppliedLog.marked` compares all the time.
 */
export class Convergence {
  readonly #cluster: Cluster;
  readonly #log: AppliedLog;
  readonly #report: Report;

  constructor(parts: { readonly cluster: Cluster; readonly log: AppliedLog; readonly report: Report }) {
    this.#cluster = parts.cluster;
    this.#log = parts.log;
    this.#report = parts.report;
  }

  /** Compares all members of the core. To be called when nothing is being written. */
  async compare(): Promise<void> {
    const { revision } = this.#log.model;
    const hashes = new Map<string, string[]>();
    for (const place of this.#cluster.core()) {
      const { member, process } = place;
      if (member === null || process === null) continue;
      const text = await new Promise<string | null>((resolve, reject) => {
        const ask = async (): Promise<string | null> => {
          const { signal } = new AbortController();
          try {
            const { result } = await member.hashKv({ revision }, { signal, credentials: OPERATOR });
            return `${result.hash} at ${result.revision}, compacted ${result.compactRevision}`;
          } catch (error) {
            // An injected read error that nobody had met before.
            if (place.storageFaulty && error instanceof StoreError && error.code === 'storage') return null;
            throw error;
          }
        };
        process.schedule(0, 'client', () => void ask().then(resolve, reject));
      });
      if (text !== null) hashes.set(text, [...(hashes.get(text) ?? []), place.name]);
    }
    if (hashes.size <= 1) return;
    const text = [...hashes].map(([hash, names]) => `${names.join()}: ${hash}`).join('; ');
    this.#report(new Violation('convergence', `members at rest differ: ${text}`));
  }
}
