import { type Attribute, attributeOf, read, textOf } from './attribute.ts';
import type { EvaluationContext } from './evaluation.ts';
import { parseInstant } from './instant.ts';
import { type Bucketing, type Ramp, type Rollout, type Split, TARGETING_KEY, WHOLE } from './model.ts';
import { bucketOf, type HashState, hashAfter, hashPrefix } from './murmur.ts';

/** Whose buckets, made ready: the seed is hashed already. */
export interface CompiledBucketing {
  readonly prefix: HashState;
  readonly attribute: Attribute;
  readonly isByTargetingKey: boolean;
}

export interface CompiledRollout {
  readonly bucketing: CompiledBucketing;
  readonly share: number;
  readonly ramp: CompiledRamp | null;
}

export interface CompiledRamp {
  readonly kind: Ramp['kind'];
  readonly points: readonly RampPoint[];
}
interface RampPoint {
  readonly atMs: number;
  readonly share: number;
}

/** `bounds` are the weights summed up: the bucket belongs to the first that is above it. */
export interface CompiledSplit<Answer> {
  readonly bucketing: CompiledBucketing;
  readonly total: number;
  readonly bounds: readonly number[];
  readonly answers: readonly Answer[];
}

/** There is no such attribute, or nothing that has a text. */
export const NO_ATTRIBUTE = -1;
/** The same, of the targeting key: an error by OpenFeature's rules. */
export const NO_TARGETING_KEY = -2;
/** The targeting key is no text. */
export const BAD_TARGETING_KEY = -3;

export function compileBucketing({ seed, bucketBy }: Bucketing, flagKey: string): CompiledBucketing {
  const name = bucketBy ?? TARGETING_KEY;
  return {
    prefix: hashPrefix(seed ?? flagKey),
    attribute: attributeOf(name),
    isByTargetingKey: name === TARGETING_KEY,
  };
}

export function compileRollout(rollout: Rollout, flagKey: string): CompiledRollout {
  const { share, ramp } = rollout;
  const bucketing = compileBucketing(rollout, flagKey);
  if (ramp === null) return { bucketing, share, ramp };
  const points = ramp.points.map((point) => ({ atMs: parseInstant(point.at), share: point.share }));
  return { bucketing, share, ramp: { kind: ramp.kind, points } };
}

export function compileSplit<Answer>(
  split: Split,
  flagKey: string,
  answerOf: (variant: string) => Answer,
): CompiledSplit<Answer> {
  let sum = 0;
  const bounds = split.weights.map(({ weight }) => {
    sum += weight;
    return sum;
  });
  const answers = split.weights.map(({ variant }) => answerOf(variant));
  return { bucketing: compileBucketing(split, flagKey), total: split.total, bounds, answers };
}

/** The hash, unsigned, or one of the three reasons below 0 why there is none. */
export function hashOf(bucketing: CompiledBucketing, context: EvaluationContext, nowMs: number): number {
  const value = read(bucketing.attribute, context, nowMs);
  if (typeof value === 'string' && value !== '') return hashAfter(bucketing.prefix, value);
  if (bucketing.isByTargetingKey) {
    return value === undefined || value === null || value === '' ? NO_TARGETING_KEY : BAD_TARGETING_KEY;
  }
  const text = textOf(value);
  return text === null || text === '' ? NO_ATTRIBUTE : hashAfter(bucketing.prefix, text);
}

export function choose<Answer>(split: CompiledSplit<Answer>, hash: number): Answer {
  const bucket = bucketOf(hash, split.total);
  let at = 0;
  while (bucket >= split.bounds[at]!) at += 1;
  return split.answers[at]!;
}

/** Of `WHOLE`, at that time. */
export function shareAt({ share, ramp }: CompiledRollout, nowMs: number): number {
  if (ramp === null) return share;
  let at = ramp.points.length - 1;
  while (at >= 0 && ramp.points[at]!.atMs > nowMs) at -= 1;
  if (at < 0) return share;
  const point = ramp.points[at]!;
  const next = ramp.points[at + 1];
  if (ramp.kind === 'steps' || next === undefined) return point.share;
  return point.share + progress(point, next, nowMs);
}

/** Whole hundredths that were gone from one point on the way to the next. */
function progress(from: RampPoint, to: RampPoint, nowMs: number): number {
  // The product comes first: it is exact, so that a share that is reached is not missed by a hair.
  return Math.trunc(((to.share - from.share) * (nowMs - from.atMs)) / (to.atMs - from.atMs));
}

/** When the share changes next, after that time; Infinity = never. */
export function nextShareMs(rollout: CompiledRollout, nowMs: number): number {
  const points = rollout.ramp?.points ?? [];
  const at = points.findIndex(({ atMs }) => atMs > nowMs);
  const [from, to] = [points[at - 1], points[at]];
  if (to === undefined) return Number.POSITIVE_INFINITY;
  if (from === undefined || rollout.ramp?.kind === 'steps' || from.share === to.share) return to.atMs;
  const steps = Math.abs(to.share - from.share);
  const gone = Math.abs(progress(from, to, nowMs));
  const nextMs = Math.ceil(from.atMs + ((gone + 1) * (to.atMs - from.atMs)) / steps);
  return Math.min(Math.max(nextMs, nowMs + 1), to.atMs);
}

/** The whole of a rollout in words of a percentage: `12.5`. */
export function percentOf(share: number): string {
  return String((share * 100) / WHOLE);
}
