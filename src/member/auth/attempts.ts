import { StoreError } from '../../lib/errors.ts';
import type { Clock } from '../ports.ts';

/** Wrong passwords in a row that one address may try, and how fast it gets further tries. */
const BURST = 20;
const REFILL_PER_SECOND = 1;
/** Attempts under way at once can overdraw: an address waits up to a minute, not longer. */
const DEBT_MAX = 60;
/** Addresses remembered; beyond it the one that failed longest ago is forgotten. */
const ADDRESSES_MAX = 10_000;

interface Account {
  balance: number;
  countedMs: number;
}

/**
 * Bounds how fast one address can guess passwords. Only failures count, and they count against the address, not the
 * user: nobody can lock a user out by failing on his behalf from elsewhere.
 */
export class Attempts {
  readonly #clock: Clock;
  /** The address that failed longest ago first. */
  readonly #accounts = new Map<string, Account>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws StoreError `too-many-requests` when the address has failed too often lately */
  check(address: string): void {
    const account = this.#accounts.get(address);
    if (account === undefined) return;
    this.#refill(account);
    if (account.balance < 1) throw new StoreError('too-many-requests', 'too many wrong passwords');
  }

  /** @param address empty = not known: it counts for nobody */
  failed(address: string): void {
    if (address === '') return;
    const account = this.#accounts.get(address) ?? { balance: BURST, countedMs: this.#clock.nowMs() };
    this.#refill(account);
    account.balance = Math.max(account.balance - 1, -DEBT_MAX);
    this.#accounts.delete(address);
    this.#accounts.set(address, account);
    if (this.#accounts.size <= ADDRESSES_MAX) return;
    for (const oldest of this.#accounts.keys()) {
      this.#accounts.delete(oldest);
      return;
    }
  }

  #refill(account: Account): void {
    const nowMs = this.#clock.nowMs();
    const earned = ((nowMs - account.countedMs) / 1_000) * REFILL_PER_SECOND;
    account.balance = Math.min(BURST, account.balance + earned);
    account.countedMs = nowMs;
  }
}
