import type { ErrorCode, Evaluation } from '../../evaluation/evaluation.ts';
import type { Json } from '../../evaluation/model.ts';
import { unreachable } from '../../lib/assert.ts';
import type { AnyFlag } from '../../rpc/generated/flagd/evaluation/v2/evaluation.ts';
import type { Struct } from '../../rpc/generated/google/protobuf/struct.ts';
import { RpcError, type RpcStatusCode, rpcStatus } from '../../rpc/status.ts';
import { fitsStruct, type JsonObject, structOf } from '../structs.ts';

/** What flags answer, in the words of flagd. Its clients know failures by their status. */

/** The types that calls ask for. `float` and `int` are our numbers. */
export type FlagdType = 'boolean' | 'string' | 'float' | 'int' | 'object';

/** The fields of an answer, whatever the type. */
export interface FlagdAnswer {
  readonly value: Json | undefined;
  readonly reason: string;
  readonly variant: string | undefined;
  readonly metadata: Struct;
}

/**
 * Second version: an answer without a value says that the caller's default holds. Its clients take that of the reasons
 * DEFAULT and DISABLED only, so every other one is told as DEFAULT.
 *
 * @throws RpcError for what is no answer
 */
export function flagdAnswer(evaluation: Evaluation, { key, type }: Asked): FlagdAnswer {
  const { value, variant, reason, errorCode, errorMessage, flagMetadata } = evaluation;
  if (errorCode !== undefined) throw new RpcError(STATUS[errorCode], errorMessage ?? errorCode);
  const metadata = structOf(flagMetadata);
  if (value === undefined) {
    return { value, variant: undefined, reason: reason === 'DISABLED' ? reason : 'DEFAULT', metadata };
  }
  if (isOfType(value, type)) return { value, variant, reason, metadata };
  throw new RpcError(rpcStatus.invalidArgument, `flag ${key} has no value of type ${type}`);
}

/**
 * First version, which has no word for an absent value: its clients keep to their default where a flag is not found.
 *
 * @throws RpcError
 */
export function firstFlagdAnswer(evaluation: Evaluation, asked: Asked): FlagdAnswer {
  const answer = flagdAnswer(evaluation, asked);
  if (answer.value !== undefined) return answer;
  throw new RpcError(rpcStatus.notFound, `flag ${asked.key} answers the caller's default (${answer.reason})`);
}

/** One of many; null where there is no value, or an array, which flagd cannot say here: then the flag is left out. */
export function anyFlag({ value, variant, reason, flagMetadata }: Evaluation): AnyFlag | null {
  const shown = value === undefined ? null : anyValue(value);
  if (shown === null) return null;
  return { ...shown, variant: variant ?? '', reason, metadata: structOf(flagMetadata) };
}

interface Asked {
  readonly key: string;
  readonly type: FlagdType;
}

/** flagd's own, as far as it has one. */
const STATUS: Readonly<Record<ErrorCode, RpcStatusCode>> = {
  FLAG_NOT_FOUND: rpcStatus.notFound,
  TYPE_MISMATCH: rpcStatus.invalidArgument,
  PARSE_ERROR: rpcStatus.dataLoss,
  // Clients tell these as general errors, with the text.
  TARGETING_KEY_MISSING: rpcStatus.unknown,
  INVALID_CONTEXT: rpcStatus.unknown,
  GENERAL: rpcStatus.unknown,
};

function isOfType(value: Json, type: FlagdType): boolean {
  switch (type) {
    case 'boolean':
    case 'string':
      return typeof value === type;
    case 'float':
      return typeof value === 'number';
    case 'int':
      return Number.isSafeInteger(value);
    case 'object':
      return isObject(value);
    default:
      return unreachable(type);
  }
}

function anyValue(
  value: Json,
): Pick<AnyFlag, 'bool_value' | 'string_value' | 'double_value' | 'object_value'> | null {
  switch (typeof value) {
    case 'boolean':
      return { bool_value: value };
    case 'string':
      return { string_value: value };
    case 'number':
      return { double_value: value };
    default:
      return isObject(value) ? { object_value: structOf(value) } : null;
  }
}

/** What flagd calls an object: no array, and not nested deeper than messages may be. */
function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && fitsStruct(value);
}
