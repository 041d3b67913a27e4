import type { Principal } from '../kv/kv.ts';
import type { Actor } from './model.ts';

/** On whose behalf a use case runs, and for how long. */
export interface Caller {
  readonly actor: Actor;
  readonly principal: Principal;
  readonly signal: AbortSignal;
}

/** Milliseconds since 1970. */
export interface Clock {
  nowMs(): number;
}

const ISO_TIME =
  /^\d{4}(?:-\d{2}(?:-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})?)?)?)?$/;

/**
 * A time in ISO 8601 in ms. Without an offset it is UTC: the same on every server, whatever its time zone.
 *
 * @returns NaN for anything else
 */
export function timeOf(text: string): number {
  const found = ISO_TIME.exec(text);
  if (found === null) return Number.NaN;
  const isLocal = text.length > 'yyyy-mm-dd'.length && found[1] === undefined;
  return Date.parse(`${text.toUpperCase().replace(' ', 'T')}${isLocal ? 'Z' : ''}`);
}

/** As rows hold times. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
