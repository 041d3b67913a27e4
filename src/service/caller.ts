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

/** As rows hold times. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
