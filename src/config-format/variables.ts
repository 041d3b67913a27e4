/** The variable of a key: `db.pool.max` is `DB_POOL_MAX`. Keys that differ in signs only have the same one. */
export function variableOf(key: string): string {
  const name = key.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
  return /^\d/.test(name) ? `_${name}` : name;
}
