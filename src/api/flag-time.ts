import type { FlagSet } from '../evaluation/flag-set.ts';

interface Span {
  readonly fromMs: number;
  readonly untilMs: number;
}

const spans = new WeakMap<FlagSet, Span>();

/** When answers may change next by themselves, or Infinity. Found once for all who ask before that. */
export function unchangedUntilMs(set: FlagSet, nowMs: number): number {
  const known = spans.get(set);
  if (known !== undefined && nowMs >= known.fromMs && nowMs < known.untilMs) return known.untilMs;
  const untilMs = set.nextChangeMs(nowMs) ?? Number.POSITIVE_INFINITY;
  spans.set(set, { fromMs: nowMs, untilMs });
  return untilMs;
}
