/** What an application's name may end with besides; 001's own example leaves it out of the prefix. */
const SUFFIX = /[_-]service$/;

/**
 * The key as 001's events have it: `portfolio_management.risk_threshold` of `portfolio_management_service`. It is stored
 * without the prefix.
 */
export function prefixedKey(application: string, key: string): string {
  return `${prefixOf(application)}.${key}`;
}

/** The key as it is stored, from either form. */
export function bareKey(application: string, key: string): string {
  for (const prefix of [`${application}.`, `${prefixOf(application)}.`]) {
    if (key.startsWith(prefix) && key.length > prefix.length) return key.slice(prefix.length);
  }
  return key;
}

function prefixOf(application: string): string {
  const bare = application.replace(SUFFIX, '');
  return bare === '' ? application : bare;
}
