import { type Report, Violation } from '../violation.ts';
import type { LoggedEntry } from './applied-log.ts';

/**
 * Leases (RELIABILITY L1, L4): none expires before its time to live has passed since the client sent the grant or the
 * last keep-alive that was acknowledged, and no keep-alive of a lease long gone is acknowledged.
 */
export class LeaseSafety {
  expiredCount = 0;
  readonly #report: Report;
  /** The fastest clock of the run, against true time. */
  readonly #rateMax: number;
  readonly #guaranteedUntilMs = new Map<bigint, number>();
  readonly #goneAtMs = new Map<bigint, number>();

  constructor(options: { readonly report: Report; readonly rateMax: number }) {
    this.#report = options.report;
    this.#rateMax = options.rateMax;
  }

  /** A grant or keep-alive sent at `sentMs` was acknowledged. */
  acknowledged(id: bigint, lease: { readonly sentMs: number; readonly ttlSeconds: number }): void {
    const gone = this.#goneAtMs.get(id);
    if (gone !== undefined && gone < lease.sentMs) {
      this.#fail(`${id} was kept alive at ${lease.sentMs.toFixed(3)}, but is gone since ${gone.toFixed(3)}`);
    }
    const untilMs = lease.sentMs + (lease.ttlSeconds * 1000) / this.#rateMax;
    if (gone !== undefined && this.#expired.has(id) && gone < untilMs) {
      this.#fail(`${id} was kept alive until ${untilMs.toFixed(3)}, but expired at ${gone.toFixed(3)}`);
    }
    this.#guaranteedUntilMs.set(id, Math.max(this.#guaranteedUntilMs.get(id) ?? 0, untilMs));
  }

  readonly #expired = new Set<bigint>();

  entry({ operation, outcome, atMs }: LoggedEntry): void {
    if (!outcome.ok || operation === null) return;
    if (operation.type === 'lease-revoke') this.#goneAtMs.set(operation.id, atMs);
    if (outcome.result.type !== 'lease-expire') return;
    for (const id of outcome.result.revoked) {
      this.#goneAtMs.set(id, atMs);
      this.#expired.add(id);
      this.expiredCount += 1;
      const untilMs = this.#guaranteedUntilMs.get(id) ?? 0;
      if (atMs < untilMs)
        this.#fail(`${id} expired at ${atMs.toFixed(3)}, guaranteed until ${untilMs.toFixed(3)}`);
    }
  }

  #fail(message: string): void {
    this.#report(new Violation('lease', message));
  }
}
