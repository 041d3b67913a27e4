import { variableOf } from '../config-format/variables.ts';
import type { ConfigEntry } from './config-entry.ts';

/**
 * The variable that stands in for a key where nothing else has it: `PAY_DB_POOL_MAX` for `db.pool.max` of `pay`. An
 * empty one is one that is set.
 */
export function variableEntry(
  env: Readonly<Record<string, string | undefined>>,
  { application, key }: { readonly application: string; readonly key: string },
): ConfigEntry | undefined {
  const text = env[variableOf(`${application}.${key}`)];
  if (text === undefined) return undefined;
  return { key, type: 'string', json: text, source: 'variable', environment: null, revision: 0 };
}
