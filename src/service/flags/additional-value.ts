import type { Json } from '../model.ts';
import { isObject } from '../values/json-limits.ts';

/** What 002 calls the value of a flag: an object. */
export interface AdditionalValue {
  readonly [name: string]: Json;
}

/** An object is one; another value is put into one; that a flag is just on or off says no more: null. */
export function additionalValueOf(value: Json | undefined): AdditionalValue | null {
  if (value === undefined || value === null || typeof value === 'boolean') return null;
  return isObject(value) ? value : { value };
}
