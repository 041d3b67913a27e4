import type { Json } from '../evaluation/model.ts';
import type { Struct, Value } from '../rpc/generated/google/protobuf/struct.ts';

/** JSON objects as protobuf has them on the wire, and back. */

export type JsonObject = { readonly [name: string]: Json };

/** How deep a value may be nested: messages are read and written to a depth of 100, and each level takes two. */
export const STRUCT_DEPTH_MAX = 40;

/** Whether it can go over the wire. */
export function fitsStruct(json: Json, depthMax: number = STRUCT_DEPTH_MAX): boolean {
  if (typeof json !== 'object' || json === null) return true;
  return depthMax > 0 && Object.values(json).every((part: Json) => fitsStruct(part, depthMax - 1));
}

/** An absent one is empty. Numbers that JSON does not have are null. */
export function objectOf(struct: Struct | null): JsonObject {
  if (struct === null) return {};
  const entries = Object.entries(struct.fields).map(([name, value]) => [name, jsonOf(value)] as const);
  return Object.fromEntries(entries);
}

/** @param object one that fits */
export function structOf(object: JsonObject): Struct {
  return {
    fields: Object.fromEntries(Object.entries(object).map(([name, json]) => [name, valueOf(json)])),
  };
}

function jsonOf(value: Value | null): Json {
  if (value === null) return null;
  const { number_value: number, string_value: text, bool_value: truth, struct_value: object } = value;
  if (isThere(number)) return Number.isFinite(number) ? number : null;
  if (isThere(text)) return text;
  if (isThere(truth)) return truth;
  if (isThere(object)) return objectOf(object);
  return isThere(value.list_value) ? value.list_value.values.map(jsonOf) : null;
}

function valueOf(json: Json): Value {
  if (json === null) return { null_value: 0 };
  switch (typeof json) {
    case 'number':
      return { number_value: json };
    case 'string':
      return { string_value: json };
    case 'boolean':
      return { bool_value: json };
    default:
      return isList(json) ? { list_value: { values: json.map(valueOf) } } : { struct_value: structOf(json) };
  }
}

function isList(json: Extract<Json, object>): json is readonly Json[] {
  return Array.isArray(json);
}

function isThere<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}
