import { createHash } from 'node:crypto';
import type { AuthStore } from '../../core/auth/auth-store.ts';
import type { Principal } from '../../core/auth/operations.ts';
import type { Clock, Random } from '../ports.ts';
import type { SignIn, TokenOffer, Tokens } from './tokens.ts';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** 182 bits of chance. */
const LETTER_COUNT = 32;
const TOKENS_MAX = 200_000;
/** A token's time starts anew with its use, but is not moved more often than this. */
const TOUCH_INTERVAL_MS = 1_000;

export interface SimpleTokensOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** A token that was not used for so long is over. */
  readonly ttlMs: number;
  /** Tokens a member knows; beyond it the one that was used longest ago is over. Default 200,000. */
  readonly tokensMax?: number;
}

interface Known {
  readonly user: string;
  /** The auth revision at which he signed in. */
  readonly revision: number;
  usedMs: number;
}

/**
 * Tokens of chance, `letters.index`, as etcd's default. Every member learns of them from the log, so that one is good
 * everywhere; the log holds a digest of the letters only. How long one lasts is each member's own matter: it ends there
 * when it was not used there for so long, when the member starts anew from behind it, or when its user was deleted or
 * got another password.
 */
export class SimpleTokens implements Tokens {
  readonly followsRevision = true;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #ttlMs: number;
  readonly #tokensMax: number;
  /** By digest and index; the one used longest ago first. */
  readonly #known = new Map<string, Known>();

  constructor({ clock, random, ttlMs, tokensMax = TOKENS_MAX }: SimpleTokensOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#ttlMs = ttlMs;
    this.#tokensMax = tokensMax;
  }

  get held(): number {
    return this.#known.size;
  }

  offer(): TokenOffer {
    const letters = Array.from(
      { length: LETTER_COUNT },
      () => LETTERS[this.#random.integer(LETTERS.length)]!,
    ).join('');
    return { digest: digestOf(letters), token: (_signIn, index) => `${letters}.${index}` };
  }

  signedIn({ user, tokenDigest, authRevision }: SignIn, index: number): void {
    const nowMs = this.#clock.nowMs();
    this.#known.set(`${tokenDigest}.${index}`, { user, revision: authRevision, usedMs: nowMs });
    for (const [name, { usedMs }] of this.#known) {
      if (nowMs - usedMs < this.#ttlMs && this.#known.size <= this.#tokensMax) break;
      this.#known.delete(name);
    }
  }

  awaitedIndex(token: string): number {
    return parse(token)?.index ?? 0;
  }

  identify(token: string, auth: AuthStore): Principal | null {
    const parts = parse(token);
    if (parts === null) return null;
    const name = `${digestOf(parts.letters)}.${parts.index}`;
    const known = this.#known.get(name);
    if (known === undefined) return null;
    const nowMs = this.#clock.nowMs();
    const isOver = nowMs - known.usedMs >= this.#ttlMs || !auth.isFresh(known);
    if (isOver || nowMs - known.usedMs >= TOUCH_INTERVAL_MS) this.#known.delete(name);
    if (isOver) return null;
    if (nowMs - known.usedMs >= TOUCH_INTERVAL_MS) {
      known.usedMs = nowMs;
      this.#known.set(name, known);
    }
    return { user: known.user, revision: auth.revision };
  }
}

function parse(token: string): { readonly letters: string; readonly index: number } | null {
  const match = /^([a-zA-Z]{1,64})\.(\d{1,15})$/.exec(token);
  return match === null ? null : { letters: match[1]!, index: Number(match[2]) };
}

function digestOf(letters: string): string {
  return createHash('sha256').update(letters).digest('base64url');
}
