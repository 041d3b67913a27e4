import type { Json } from '../../../service/model.ts';
import { invalid } from '../../../service/service-error.ts';
import { isObject } from '../../../service/values/json-limits.ts';

/** What an instance says of what it was told. */
export type InstanceReport =
  | { readonly type: 'applied'; readonly revision: number }
  | { readonly type: 'rejected'; readonly revision: number; readonly reason: string };

/** From `{"applied": 123}` or `{"rejected": 123, "reason": "…"}`. @throws ServiceError `invalid` */
export function reportOf(text: string): InstanceReport {
  const message = parsed(text);
  const { applied, rejected, reason = '', ...rest } = message;
  if (Object.keys(rest).length > 0) throw wrong(`${Object.keys(rest)[0]} is not known here`);
  if ((applied === undefined) === (rejected === undefined)) {
    throw wrong('a message is {"applied": revision} or {"rejected": revision, "reason": text}');
  }
  if (applied !== undefined) return { type: 'applied', revision: revisionOf('applied', applied) };
  if (typeof reason !== 'string') throw wrong('reason must be a string');
  return { type: 'rejected', revision: revisionOf('rejected', rejected), reason };
}

function parsed(text: string): { readonly [field: string]: Json } {
  try {
    const json = JSON.parse(text) as Json;
    if (isObject(json)) return json;
  } catch {
    // As of all that is no object.
  }
  throw wrong('a message must be a JSON object');
}

function revisionOf(field: string, json: Json | undefined): number {
  if (typeof json === 'number' && Number.isSafeInteger(json) && json >= 0) return json;
  throw wrong(`${field} must be a revision`);
}

function wrong(message: string): Error {
  return invalid({ field: 'message', message });
}
