import { setTimeout as delay } from 'node:timers/promises';
import { affectedFlags, flagsOfTime } from '../../evaluation/affected.ts';
import type { Caller } from '../caller.ts';
import type { ServiceContext } from '../context.ts';
import { chainOf } from '../environments/inheritance.ts';
import type { ChangeItem, ChangeRecord, Scope } from '../model.ts';
import { ChangeFeed, type RecordedChange } from './change-feed.ts';
import { checkScopeAccess, isFeatureItem } from './feature-access.ts';
import type { FlagSets } from './flag-sets.ts';

/** What changes by itself is told at most so often: a linear ramp changes all the time. */
export const TIMED_CHANGES_MS_MIN = 10_000;
/** Timers go no further than 24 days; a day is looked at and waited for again. */
const WAIT_MS_MAX = 86_400_000;

/** That flags may answer otherwise than before. */
export interface FlagsChanged {
  /** Of the change; of what changes by itself the one that was told last. */
  readonly revision: number;
  /** The flags, deleted ones included, in the order of their keys: also those that refer to what was changed. */
  readonly keys: readonly string[];
  /** `time`: a schedule, a ramp or a condition on the time. */
  readonly cause: 'change' | 'time';
}

/** The changes of an application's flags in an environment. */
export interface OpenFlagChanges {
  /** Those after this revision are told. */
  readonly revision: number;
  /** Each revision once, in order; they end when the caller's signal is aborted. */
  readonly changes: AsyncGenerator<FlagsChanged, void, undefined>;
}

/** Tells whoever evaluates flags when to look again. */
export class FlagChanges {
  readonly #context: ServiceContext;
  readonly #sets: FlagSets;
  readonly #feed: ChangeFeed;

  constructor(context: ServiceContext, sets: FlagSets) {
    this.#context = context;
    this.#sets = sets;
    this.#feed = new ChangeFeed(context.kv, context.projection);
  }

  open(
    caller: Caller,
    { scope, after }: { readonly scope: Scope; readonly after: number | null },
  ): OpenFlagChanges {
    const revision = after ?? this.#context.projection.revision;
    return { revision, changes: this.#follow(caller, scope, { after: revision, fromMs: this.#nowMs }) };
  }

  async *#follow(
    caller: Caller,
    scope: Scope,
    { after, fromMs }: { readonly after: number; readonly fromMs: number },
  ): AsyncGenerator<FlagsChanged, void, undefined> {
    const { signal } = caller;
    const isRelevant = ({ items }: ChangeRecord): boolean => items.some((item) => this.#reaches(item, scope));
    const feed = this.#feed.follow({ after, isRelevant, signal });
    let next = feed.next();
    let revision = after;
    let lookedMs = fromMs;
    let toldMs = Number.NEGATIVE_INFINITY;
    try {
      for (;;) {
        const timer = new AbortController();
        const changed = await Promise.race([
          next,
          this.#timed(scope, { lookedMs, toldMs, signal: timer.signal }),
        ]);
        timer.abort();
        if (changed !== null && changed.done === true) return;
        await this.#checkRight(caller, scope);
        if (changed === null) {
          const keys = this.#timedKeys(scope, lookedMs);
          lookedMs = this.#nowMs;
          toldMs = lookedMs;
          if (keys.length > 0) yield { revision, keys, cause: 'time' };
          continue;
        }
        ({ revision } = changed.value);
        yield { revision, keys: this.#keysOf(changed.value, scope), cause: 'change' };
        next = feed.next();
      }
    } finally {
      next.catch(() => undefined);
      await feed.return();
    }
  }

  get #nowMs(): number {
    return this.#context.clock.nowMs();
  }

  async #checkRight(caller: Caller, scope: Scope): Promise<void> {
    if (caller.signal.aborted) return;
    await checkScopeAccess(this.#context.access, caller, { scope, kind: 'flag', mode: 'read' });
  }

  #reaches(item: ChangeItem, { tenant, environment, application }: Scope): boolean {
    if (item.tenant !== tenant) return false;
    const { state } = this.#context.projection;
    const isOfChain = (id: string): boolean => chainOf(state, tenant, environment).includes(id);
    if (item.kind === 'environment') {
      return item.fields.some(({ name }) => name === 'parent') && isOfChain(item.name);
    }
    return isFeatureItem(item) && item.application === application && isOfChain(item.environment);
  }

  #keysOf({ record }: RecordedChange, scope: Scope): readonly string[] {
    const known = this.#sets.of(scope);
    const items = record.items.filter((item) => this.#reaches(item, scope));
    const named = (kind: ChangeItem['kind']): ReadonlySet<string> =>
      new Set(items.flatMap((item) => (item.kind === kind && 'key' in item ? [item.key] : [])));
    const changed = { flags: named('flag'), segments: named('segment') };
    const hasOtherParent = items.some(({ kind }) => kind === 'environment');
    // What the former parent had may be gone: whoever asks for all flags again sees that.
    if (hasOtherParent) return [...new Set([...known.flags.keys(), ...changed.flags])].sort();
    return affectedFlags(known, changed);
  }

  /** Null as soon as an answer may have changed by itself since it was looked last; never, where that cannot be. */
  async #timed(
    scope: Scope,
    {
      lookedMs,
      toldMs,
      signal,
    }: { readonly lookedMs: number; readonly toldMs: number; readonly signal: AbortSignal },
  ): Promise<null> {
    for (;;) {
      const nextMs = this.#sets.of(scope).set.nextChangeMs(lookedMs);
      const dueMs =
        nextMs === null ? Number.POSITIVE_INFINITY : Math.max(nextMs, toldMs + TIMED_CHANGES_MS_MIN);
      const waitMs = Math.min(WAIT_MS_MAX, dueMs - this.#nowMs);
      if (waitMs <= 0) return null;
      // Given up, it stays unsettled: nobody waits for it any more.
      const gone = await delay(waitMs, false, { signal, ref: false }).catch(() => true);
      if (gone) return new Promise(() => undefined);
    }
  }

  /** The flags whose answers may change in the course of time, and those that refer to them. */
  #timedKeys(scope: Scope, lookedMs: number): readonly string[] {
    const known = this.#sets.of(scope);
    const nextMs = known.set.nextChangeMs(lookedMs);
    return nextMs === null || nextMs > this.#nowMs ? [] : flagsOfTime(known);
  }
}
