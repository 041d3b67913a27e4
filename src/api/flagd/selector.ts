import { invalid, type ServiceError } from '../../service/service-error.ts';
import type { SaidScope } from '../flag-scope.ts';

/** Characters of a selector. */
export const SELECTOR_LENGTH_MAX = 1_024;

const NAMES: Readonly<Record<string, keyof SaidScope>> = {
  application: 'application',
  app: 'application',
  environment: 'environment',
  env: 'environment',
  tenant: 'tenant',
};
/** flagd's own names for a set of flags: what stands there is a path. */
const PATH_NAMES: ReadonlySet<string> = new Set(['flagSetId', 'source']);

/**
 * Reads a selector: `application=shop,environment=production,tenant=acme`, or `shop/production`, also after
 * `flagSetId=` or `source=`. What it does not say is not there.
 *
 * @throws ServiceError `invalid`, naming `flagd-selector`
 */
export function readSelector(text: string): SaidScope {
  if (text.length > SELECTOR_LENGTH_MAX) throw wrong(`is longer than ${SELECTOR_LENGTH_MAX} characters`);
  const said: { tenant?: string; environment?: string; application?: string } = {};
  for (const part of text.split(',').map((each) => each.trim())) {
    if (part === '') continue;
    const at = part.indexOf('=');
    const name = at < 0 ? 'source' : part.slice(0, at).trim();
    const value = part.slice(at + 1).trim();
    if (PATH_NAMES.has(name)) Object.assign(said, readPath(value));
    else if (Object.hasOwn(NAMES, name)) said[NAMES[name]!] = value;
    else throw wrong(`does not know '${name}': say application, environment or tenant`);
  }
  return said;
}

/** `application` or `application/environment`. */
function readPath(path: string): SaidScope {
  const [application = '', environment, ...rest] = path.split('/');
  if (rest.length > 0) throw wrong('must be application/environment');
  return environment === undefined ? { application } : { application, environment };
}

function wrong(message: string): ServiceError {
  return invalid({ field: 'flagd-selector', message });
}
