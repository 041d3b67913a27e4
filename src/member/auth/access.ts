import type { AuthStore } from '../../core/auth/auth-store.ts';
import { ANONYMOUS, INTERNAL, INTERNAL_USER, type Principal } from '../../core/auth/operations.ts';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { abortError, StoreError, type StoreErrorCode } from '../../lib/errors.ts';
import type { AccessOutcome } from '../observer.ts';
import type { Clock } from '../ports.ts';
import type { Tokens } from './tokens.ts';

/** How often one request is tried anew because users or roles changed while it was under way. */
const RETRIES_MAX = 10;
/** Requests that wait for the index of their token; one more is `too-many-requests`. */
const WAITING_MAX = 10_000;

const OUTCOMES: ReadonlyMap<StoreErrorCode | null, AccessOutcome> = new Map([
  ['permission-denied', 'denied'],
  ['user-empty', 'unknown'],
  ['auth-token-invalid', 'unknown'],
  ['auth-revision-old', 'unknown'],
]);

/** What a client shows of itself with a request. */
export interface Credentials {
  readonly token?: string | undefined;
  /** The common name of a certificate that was verified. */
  readonly certificateName?: string | undefined;
}

/** A client's request, while it lasts. */
export interface ClientContext {
  readonly signal: CancelSignal;
  readonly credentials?: Credentials | undefined;
  /** Noted in the log where authentication is disabled; it gives no right to anything. */
  readonly user?: string | undefined;
  /** This process asks for its own sake, and may do everything. Never set by what a client says. */
  readonly isInternal?: boolean | undefined;
}

export interface AccessOptions {
  readonly clock: Clock;
  readonly auth: () => AuthStore;
  readonly tokens: Tokens;
  readonly appliedIndex: () => number;
  readonly linearizable: (signal: CancelSignal) => Promise<void>;
  /** How long a token's index is waited for. */
  readonly timeoutMs: number;
  /** Told of every request, while authentication is enabled. */
  readonly decided: (outcome: AccessOutcome) => void;
}

/** A request that waits for the index of its token. */
interface Waiter {
  readonly index: number;
  readonly untilMs: number;
  readonly resolve: () => void;
}

/** Says on whose behalf a request is, by this member's applied state. */
export class Access {
  readonly #options: AccessOptions;
  readonly #waiting = new Set<Waiter>();

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  /**
   * Does something on behalf of whoever asks. When users or roles changed while it was under way, it is done anew as of
   * now, unless the credentials themselves name the old revision. A refusal changed nothing, so that is safe.
   *
   * @throws StoreError `auth-token-invalid`, `too-many-requests`, `canceled`, and what `work` throws
   */
  as<T>(context: ClientContext, work: (principal: Principal) => Promise<T>): Promise<T>;
  as<T>(context: ClientContext, work: (principal: Principal) => T | Promise<T>): T | Promise<T>;
  as<T>(context: ClientContext, work: (principal: Principal) => T | Promise<T>): T | Promise<T> {
    // Nothing is to be found out, awaited, counted or done anew: most clients need not pay for the rest.
    if (context.credentials === undefined && !this.#options.auth().enabled)
      return work(this.principal(context));
    return this.#counted(context, work);
  }

  async #counted<T>(context: ClientContext, work: (principal: Principal) => T | Promise<T>): Promise<T> {
    try {
      const result = await this.#tried(context, work);
      this.decided(null);
      return result;
    } catch (error) {
      if (error instanceof StoreError) this.decided(error.code);
      throw error;
    }
  }

  /** As `as`, for a look ahead of a request that is decided by itself: counted only when it ends here. */
  async ahead(context: ClientContext, look: (principal: Principal) => Promise<void>): Promise<void> {
    try {
      await this.#tried(context, look);
    } catch (error) {
      if (error instanceof StoreError) this.decided(error.code);
      throw error;
    }
  }

  /** A request's end, for those who measure: who is permitted is, whatever becomes of the request. */
  decided(code: StoreErrorCode | null): void {
    if (this.#options.auth().enabled) this.#options.decided(OUTCOMES.get(code) ?? 'allowed');
  }

  async #tried<T>(context: ClientContext, work: (principal: Principal) => T | Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      await this.settled(context);
      const principal = this.principal(context);
      try {
        return await work(principal);
      } catch (error) {
        const again = error instanceof StoreError && this.#mayPass(error.code, principal, context);
        if (!again || attempt >= RETRIES_MAX) throw error;
        // Whoever refused it may be further than this member.
        await this.#options.linearizable(context.signal);
      }
    }
  }

  /**
   * Who is asking, as of now.
   *
   * @throws StoreError `auth-token-invalid`
   */
  principal({ credentials, user, isInternal }: ClientContext): Principal {
    if (isInternal === true) return INTERNAL;
    const auth = this.#options.auth();
    if (!auth.enabled) return user === undefined ? ANONYMOUS : { user, revision: 0 };
    if (credentials === undefined) return ANONYMOUS;
    const { token, certificateName } = credentials;
    if (token !== undefined) {
      const found = this.#options.tokens.identify(token, auth);
      if (found === null) throw new StoreError('auth-token-invalid');
      return found;
    }
    return certificateName === undefined || certificateName === INTERNAL_USER
      ? ANONYMOUS
      : { user: certificateName, revision: auth.revision };
  }

  /**
   * Resolves once this member has applied what the credentials speak of, or after a while when it never will.
   *
   * @throws StoreError `too-many-requests`, `canceled`
   */
  async settled({ credentials, signal }: ClientContext): Promise<void> {
    if (credentials?.token === undefined || !this.#options.auth().enabled) return;
    const index = this.#options.tokens.awaitedIndex(credentials.token);
    if (index <= this.#options.appliedIndex()) return;
    if (this.#waiting.size >= WAITING_MAX) throw new StoreError('too-many-requests');
    if (signal.aborted) throw abortError(signal);
    const { clock, timeoutMs } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.delete(waiter);
        reject(abortError(signal));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const done = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const waiter: Waiter = { index, untilMs: clock.nowMs() + timeoutMs, resolve: done };
      this.#waiting.add(waiter);
    });
  }

  appliedTo(index: number): void {
    this.#release((waiter) => waiter.index <= index);
  }

  /** Ends what has waited too long. */
  tick(): void {
    const nowMs = this.#options.clock.nowMs();
    this.#release((waiter) => waiter.untilMs <= nowMs);
  }

  #release(isDone: (waiter: Waiter) => boolean): void {
    for (const waiter of this.#waiting) {
      if (!isDone(waiter)) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  }

  #mayPass(code: StoreErrorCode, principal: Principal, { credentials }: ClientContext): boolean {
    if (credentials === undefined) return false;
    // Identified while authentication was still disabled here.
    if (code === 'user-empty') {
      const isKnown = credentials.token !== undefined || credentials.certificateName !== undefined;
      return principal.revision === 0 && isKnown;
    }
    return (
      code === 'auth-revision-old' &&
      (credentials.token === undefined || this.#options.tokens.followsRevision)
    );
  }
}

/** @throws StoreError with the code, unless it is null */
export function permit(refusal: StoreErrorCode | null): void {
  if (refusal !== null) throw new StoreError(refusal);
}
