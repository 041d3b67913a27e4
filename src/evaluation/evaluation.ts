import type { FlagMetadata, FlagType, Json } from './model.ts';

/** OpenFeature's reasons, as far as evaluation itself has them. */
export type Reason =
  /** The flag answers everybody alike until it is changed. */
  | 'STATIC'
  /** Nothing matched, or what the flag requires does not hold. */
  | 'DEFAULT'
  | 'TARGETING_MATCH'
  /** By bucket. */
  | 'SPLIT'
  | 'DISABLED'
  | 'ERROR';

/** OpenFeature's error codes, as far as evaluation itself has them. */
export type ErrorCode =
  | 'FLAG_NOT_FOUND'
  | 'TYPE_MISMATCH'
  | 'TARGETING_KEY_MISSING'
  | 'INVALID_CONTEXT'
  /** The definition cannot be evaluated: what is wrong with it stands in `FlagSet.findings`. */
  | 'PARSE_ERROR'
  | 'GENERAL';

/**
 * What a flag answers. It is made once and shared by all evaluations that answer the same, and frozen with its value.
 * Without a value (after every error, and where no variant is set) the caller's own default holds.
 */
export interface Evaluation {
  readonly value: Json | undefined;
  readonly variant: string | undefined;
  readonly reason: Reason;
  readonly errorCode: ErrorCode | undefined;
  readonly errorMessage: string | undefined;
  readonly flagMetadata: FlagMetadata;
}

/** Whom or what a flag is evaluated for: attributes, nested as they like. Nothing is written to it. */
export interface EvaluationContext {
  readonly targetingKey?: unknown;
  readonly [attribute: string]: unknown;
}

export interface EvaluationOptions {
  /** Milliseconds since 1970, for schedules, ramps and conditions on the time. */
  readonly nowMs: number;
  /** What the caller expects; another type is `TYPE_MISMATCH`. Absent = any. */
  readonly type?: FlagType | undefined;
}

const NO_METADATA: FlagMetadata = Object.freeze({});

export function failure(
  errorCode: ErrorCode,
  errorMessage: string,
  flagMetadata: FlagMetadata = NO_METADATA,
): Evaluation {
  return Object.freeze({
    value: undefined,
    variant: undefined,
    reason: 'ERROR',
    errorCode,
    errorMessage,
    flagMetadata,
  });
}
