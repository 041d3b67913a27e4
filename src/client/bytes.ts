import type { Bytes } from './types.ts';

/** Text as its UTF-8; bytes are not copied. */
export function bytesOf(value: Bytes): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : value;
}
