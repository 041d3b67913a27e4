import { createHash } from 'node:crypto';
import type { FlagSet } from '../../../evaluation/flag-set.ts';
import type { Json } from '../../../evaluation/model.ts';
import { unchangedUntilMs } from '../../flag-time.ts';

/**
 * The entity tag of all answers for a context, without evaluating anything: of the flags, of what has come of itself in
 * the course of time, and of everything in the context, since any of it may be asked for. Alike on all members.
 */
export function evaluationTag(flags: {
  readonly set: FlagSet;
  readonly digest: string;
  readonly context: Json;
  readonly nowMs: number;
}): string {
  const { set, digest, context, nowMs } = flags;
  const hash = createHash('sha256').update(`${digest} ${unchangedUntilMs(set, nowMs)} `);
  return hash.update(canonicalJson(context)).digest('base64url').slice(0, TAG_CHARACTERS);
}

/** 132 bits. */
const TAG_CHARACTERS = 22;

/** Members of objects in the order of their names: what is equal is equal as text. */
export function canonicalJson(json: Json): string {
  if (typeof json !== 'object' || json === null) return JSON.stringify(json);
  if (isList(json)) return `[${json.map(canonicalJson).join(',')}]`;
  const names = Object.keys(json).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalJson(json[name]!)}`).join(',')}}`;
}

function isList(json: Extract<Json, object>): json is readonly Json[] {
  return Array.isArray(json);
}
