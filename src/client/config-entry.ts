import { isSealed, type Json, subtypeOf, type ValueType } from '../config-format/values.ts';
import type { CachedEntry } from './cache-entry.ts';

/** A configuration as a service finds it. */
export interface ConfigEntry {
  readonly key: string;
  /**
   * What the value is. Of a `secret` only that is known, `ConfigClient.secret` gets it; `malformed` is what somebody put
   * into the store that is no JSON.
   */
  readonly type: ValueType | 'malformed';
  /** Of a secret, and of what is malformed, null. */
  readonly json: Json;
  /** cluster: as it stands there; snapshot: as it was when the file was written; variable: one of the process. */
  readonly source: 'cluster' | 'snapshot' | 'variable';
  /** The environment that has it; null for a default of the application, and for a variable. */
  readonly environment: string | null;
  /** At which it was put; 0 for a variable. */
  readonly revision: number;
}

/** What the value of a plain key is; `mark` is the same for values that nobody could tell apart. */
export interface HeldEntry extends ConfigEntry {
  readonly mark: string;
}

/** A plain key as a service finds it. */
export function entryOfPlain(
  key: string,
  { cached, environment }: { readonly cached: CachedEntry; readonly environment: string },
): HeldEntry {
  const place = { key, environment, revision: cached.modRevision, source: 'cluster' } as const;
  const json = parsed(cached.text);
  if (json === undefined) return hiddenEntry(place, 'malformed');
  return isSealed(json) ? hiddenEntry(place, 'secret') : { ...place, ...shownAs(json) };
}

/** A value that is not shown; two of them are the same when they were put where and when the other one was. */
export function hiddenEntry(
  place: Pick<ConfigEntry, 'key' | 'source' | 'environment' | 'revision'>,
  type: 'secret' | 'malformed',
): HeldEntry {
  return { ...place, type, json: null, mark: `${type} ${place.environment}@${place.revision}` };
}

/** A default value of an application. */
export function entryOfDefault(
  key: string,
  { json, revision }: { readonly json: Json; readonly revision: number },
): HeldEntry {
  return { key, environment: null, revision, source: 'cluster', ...shownAs(json) };
}

/** The type of a value that is no secret, and what tells it from others. */
export function shownAs(json: Json): Pick<HeldEntry, 'type' | 'json' | 'mark'> {
  return { type: subtypeOf(json), json, mark: JSON.stringify(json) };
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
