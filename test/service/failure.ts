import { expect } from 'vitest';
import type { ServiceErrorCode } from '../../src/service/service-error.ts';

/** A failure of this code that names these fields, in this order. */
export function failure(code: ServiceErrorCode, ...fields: readonly string[]): Error {
  const problems = fields.map((field) => expect.objectContaining({ field }) as unknown);
  return expect.objectContaining({ code, ...(fields.length === 0 ? {} : { problems }) }) as Error;
}
