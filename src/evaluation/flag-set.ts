import { nextShareMs } from './bucketing.ts';
import { checkSet } from './check-set.ts';
import { type CompiledFlag, compileFlag } from './compile.ts';
import { type CompiledSegment, compileSegment } from './condition.ts';
import { decide } from './decide.ts';
import { type Evaluation, type EvaluationContext, type EvaluationOptions, failure } from './evaluation.ts';
import { type Explanation, explain } from './explain.ts';
import type { Finding } from './finding.ts';
import type { FlagDefinition, FlagType, Segment } from './model.ts';
import { momentsOf } from './moments.ts';

const NOT_FOUND = failure('FLAG_NOT_FOUND', 'there is no such flag');

/** One flag of a set: ready, or the answer that it gives for what is wrong with it. */
type Member =
  | { readonly flag: CompiledFlag; readonly broken: null }
  | { readonly flag: null; readonly broken: Evaluation };

/**
 * Makes a set of flags ready to be evaluated. It never throws: a flag that cannot be evaluated answers `PARSE_ERROR`,
 * and `findings` says why; the others are as they are. Of two with one key the last counts.
 *
 * @param flags as `validateFlag` gives them; what they refer to must be among them, or it is missing
 */
export function compileFlags(flags: Iterable<FlagDefinition>, segments: Iterable<Segment> = []): FlagSet {
  const flagsByKey = new Map([...flags].map((flag) => [flag.key, flag]));
  const segmentsByKey = new Map([...segments].map((segment) => [segment.key, segment]));
  const checked = checkSet(flagsByKey, segmentsByKey);
  const findings = new Map(checked.flags.findings);
  const compiledSegments = new Map<string, CompiledSegment>();
  for (const key of checked.segments.order) {
    attempt(() => compiledSegments.set(key, compileSegment(segmentsByKey.get(key)!, compiledSegments)));
  }
  const compiled = new Map<string, CompiledFlag>();
  for (const key of checked.flags.order) {
    const flag = flagsByKey.get(key)!;
    const failed = attempt(() => compiled.set(key, compileFlag(flag, compiled, compiledSegments)));
    if (failed !== null) findings.set(key, [{ field: '', message: failed }]);
  }
  return new FlagSet({ flags: flagsByKey, segments: segmentsByKey.values(), compiled, findings });
}

/** @returns what went wrong, or null */
function attempt(work: () => void): string | null {
  try {
    work();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : 'cannot be evaluated';
  }
}

/** Flags that are ready to be evaluated; it never changes. */
export class FlagSet {
  /** What is wrong with flags that answer `PARSE_ERROR`, by key. */
  readonly findings: ReadonlyMap<string, readonly Finding[]>;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #moments: readonly number[];

  constructor(parts: {
    readonly flags: ReadonlyMap<string, FlagDefinition>;
    readonly segments: Iterable<Segment>;
    readonly compiled: ReadonlyMap<string, CompiledFlag>;
    readonly findings: ReadonlyMap<string, readonly Finding[]>;
  }) {
    this.findings = parts.findings;
    const members = new Map<string, Member>();
    for (const [key, { metadata }] of parts.flags) {
      const flag = parts.compiled.get(key);
      const message = `flag ${key} cannot be evaluated`;
      const broken = { flag: null, broken: failure('PARSE_ERROR', message, metadata) } as const;
      members.set(key, flag === undefined ? broken : { flag, broken: null });
    }
    this.#members = members;
    this.#moments = momentsOf(parts.flags.values(), parts.segments);
  }

  get size(): number {
    return this.#members.size;
  }

  keys(): IterableIterator<string> {
    return this.#members.keys();
  }

  /** Undefined of a flag that is not there or cannot be evaluated. */
  typeOf(key: string): FlagType | undefined {
    return this.#members.get(key)?.flag?.type;
  }

  /** The flag's answer. Never throws; without a value the caller's default holds. */
  evaluate(key: string, context: EvaluationContext, options: EvaluationOptions): Evaluation {
    const member = this.#members.get(key);
    if (member === undefined) return NOT_FOUND;
    const { flag } = member;
    if (flag === null) return member.broken;
    if (typeof context !== 'object' || context === null) return flag.errors.badContext;
    if (options.type !== undefined && options.type !== flag.type) return flag.errors.typeMismatch;
    if (flag.fixed !== null) return flag.fixed;
    try {
      return decide(flag, context, options.nowMs, null);
    } catch {
      // A getter of the context threw.
      return flag.errors.thrown;
    }
  }

  /** The same answer, with the way to it in words. Never throws. */
  explain(key: string, context: EvaluationContext, options: EvaluationOptions): Explanation {
    const evaluation = this.evaluate(key, context, options);
    const flag = this.#members.get(key)?.flag ?? null;
    return explain({
      flag,
      evaluation,
      context,
      nowMs: options.nowMs,
      findings: this.findings.get(key) ?? [],
    });
  }

  /**
   * When an answer may change next by itself, after that time: of a schedule, a ramp, a condition on the time. Null =
   * never until the flags are changed.
   */
  nextChangeMs(nowMs: number): number | null {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const moment of this.#moments) if (moment > nowMs && moment < nextMs) nextMs = moment;
    for (const { flag } of this.#members.values()) {
      if (flag === null) continue;
      for (const { rules } of flag.stages) {
        for (const { rollout } of rules) {
          if (rollout !== null) nextMs = Math.min(nextMs, nextShareMs(rollout, nowMs));
        }
      }
    }
    return nextMs === Number.POSITIVE_INFINITY ? null : nextMs;
  }
}
