import type { EvaluationContext } from '../../evaluation/evaluation.ts';
import {
  type CheckFeatureFlagRequest,
  type CheckFeatureFlagResponse,
  type ConfigurationResponse,
  type ConfigurationUpdate,
  UpdateType,
  ValueType as WireType,
} from '../../rpc/generated/config/v1/configuration.ts';
import type { Timestamp } from '../../rpc/generated/google/protobuf/timestamp.ts';
import type { EffectiveView } from '../../service/configurations/reads.ts';
import { cursorText } from '../../service/events/cursor.ts';
import type { ConfigurationEvent, EventType } from '../../service/events/event.ts';
import type { FlagCheck } from '../../service/flags/flag-reads.ts';
import type { ValueType } from '../../service/model.ts';
import { textOf } from '../../service/values/value-types.ts';
import { fitsStruct, structOf } from '../structs.ts';

const TYPES: Readonly<Record<ValueType, WireType>> = {
  string: WireType.VALUE_TYPE_STRING,
  integer: WireType.VALUE_TYPE_NUMBER,
  float: WireType.VALUE_TYPE_NUMBER,
  boolean: WireType.VALUE_TYPE_BOOLEAN,
  json: WireType.VALUE_TYPE_JSON,
  array: WireType.VALUE_TYPE_JSON,
  secret: WireType.VALUE_TYPE_SECRET,
};

const UPDATES: Readonly<Record<EventType, UpdateType>> = {
  created: UpdateType.UPDATE_TYPE_CREATED,
  updated: UpdateType.UPDATE_TYPE_UPDATED,
  deleted: UpdateType.UPDATE_TYPE_DELETED,
};

export function wireConfiguration(view: EffectiveView): ConfigurationResponse {
  const { key, value, version, updatedAt } = view;
  return {
    key,
    value: textOf(value.json, value.type),
    value_type: TYPES[value.type],
    version: version ?? 0,
    updated_at: updatedAt === null ? null : timestamp(updatedAt),
  };
}

export function wireUpdate(event: ConfigurationEvent): ConfigurationUpdate {
  const { revision, name, type, value, version, updatedAt, cursor } = event;
  return {
    key: name.key,
    value: value === null ? '' : textOf(value.json, value.type),
    value_type: value === null ? WireType.VALUE_TYPE_UNSPECIFIED : TYPES[value.type],
    version,
    update_type: UPDATES[type],
    updated_at: timestamp(updatedAt),
    revision,
    cursor: cursorText(cursor),
  };
}

/** The user is known by both names, as over REST. */
export function contextOf({ user_id: user, attributes }: CheckFeatureFlagRequest): EvaluationContext {
  return user === '' ? attributes : { ...attributes, userId: user, targetingKey: user };
}

export function wireCheck({ key, enabled, value, evaluation }: FlagCheck): CheckFeatureFlagResponse {
  const { reason, errorCode, variant = '' } = evaluation;
  return {
    key,
    enabled,
    // One that is nested deeper than messages may be cannot be told.
    value: value === null || !fitsStruct(value) ? null : structOf(value),
    reason: errorCode ?? reason,
    variant,
  };
}

function timestamp(iso: string): Timestamp {
  const ms = Date.parse(iso);
  const seconds = Math.floor(ms / 1_000);
  return { seconds, nanos: (ms - seconds * 1_000) * 1_000_000 };
}
