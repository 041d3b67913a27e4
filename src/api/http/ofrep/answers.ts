import type { ErrorCode, Evaluation } from '../../../evaluation/evaluation.ts';
import type { FlagMetadata, Json } from '../../../evaluation/model.ts';

/** What flags answer, in the words of the OpenFeature Remote Evaluation Protocol 0.3. */

/** `value` is absent where the caller's default holds. */
export interface OfrepSuccess {
  readonly key: string;
  readonly value?: Json;
  readonly reason: string;
  readonly variant?: string;
  readonly metadata: FlagMetadata;
}

/** Of one flag, or of a whole request, which has no key. */
export interface OfrepFailure {
  readonly key?: string;
  readonly errorCode: OfrepErrorCode;
  readonly errorDetails: string;
  readonly metadata?: FlagMetadata;
}

/** The protocol has no types: `TYPE_MISMATCH` is found by clients. */
export type OfrepErrorCode = Exclude<ErrorCode, 'TYPE_MISMATCH'>;

export function ofrepAnswer(
  key: string,
  { value, variant, reason, errorCode, errorMessage, flagMetadata }: Evaluation,
): OfrepSuccess | OfrepFailure {
  if (errorCode !== undefined) {
    const code = errorCode === 'TYPE_MISMATCH' ? 'GENERAL' : errorCode;
    return { key, errorCode: code, errorDetails: errorMessage ?? errorCode, metadata: flagMetadata };
  }
  return {
    key,
    ...(value === undefined ? {} : { value }),
    reason,
    ...(variant === undefined ? {} : { variant }),
    metadata: flagMetadata,
  };
}

/** The status with which one flag's answer is sent. */
export function ofrepStatus(answer: OfrepSuccess | OfrepFailure): 200 | 400 | 404 {
  if (!('errorCode' in answer)) return 200;
  return answer.errorCode === 'FLAG_NOT_FOUND' ? 404 : 400;
}
