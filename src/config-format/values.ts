import type { Json } from '../lib/json.ts';

export type { Json } from '../lib/json.ts';

/** What a value is; the finest of the dialects' types. NUMBER is `integer` or `float`, JSON is `json` or `array`. */
export type ValueType = 'string' | 'integer' | 'float' | 'boolean' | 'json' | 'array' | 'secret';

/** A secret that was sealed: AES-256-GCM, all parts in base64. It is bound to the configuration's id. */
export interface SealedValue {
  readonly sealed: 1;
  /** Which of the configured keys sealed it. */
  readonly keyId: string;
  readonly nonce: string;
  /** The ciphertext with its tag. */
  readonly text: string;
}

/** The finest type that fits the value; never `secret`. */
export function subtypeOf(json: Json): Exclude<ValueType, 'secret'> {
  if (Array.isArray(json)) return 'array';
  if (json === null || typeof json === 'object') return 'json';
  if (typeof json === 'number') return Number.isSafeInteger(json) ? 'integer' : 'float';
  return typeof json === 'string' ? 'string' : 'boolean';
}

/** Whether a plain value is the envelope of a secret: an object with just its four members. */
export function isSealed(json: Json): boolean {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return false;
  const { sealed, keyId, nonce, text } = json as { readonly [name: string]: Json };
  return (
    sealed === 1 &&
    [keyId, nonce, text].every((part) => typeof part === 'string') &&
    Object.keys(json).length === 4
  );
}
