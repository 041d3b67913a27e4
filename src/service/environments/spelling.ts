import {
  canonicalEnvironment,
  type EnvironmentDialect,
  SPELLINGS,
  STANDARD_ENVIRONMENTS,
  type StandardEnvironment,
} from '../../config-format/environments.ts';
import { invalid } from '../service-error.ts';

/** The longest name of an environment (REQUIREMENTS). */
export const ENVIRONMENT_LENGTH_MAX = 20;

const NAME = /^[a-z0-9][a-z0-9_-]*$/;

/** Whether every tenant has this environment, made or not. */
export function isStandard(id: string): id is StandardEnvironment {
  return (STANDARD_ENVIRONMENTS as readonly string[]).includes(id);
}

/**
 * The canonical id of an environment in any spelling: of a standard one its long name, of a custom one its name, both in
 * lower case.
 *
 * @throws ServiceError `invalid`, which names `field`, unless that is a name of 1 to 20 letters, digits, `-` and `_`
 */
export function environmentId(spelling: string, field = 'environment'): string {
  const id = canonicalEnvironment(spelling);
  if (isStandard(id)) return id;
  if (id.length > ENVIRONMENT_LENGTH_MAX) {
    throw invalid({ field, message: `is longer than ${ENVIRONMENT_LENGTH_MAX} characters` });
  }
  if (!NAME.test(id)) {
    throw invalid({
      field,
      message: 'must be letters, digits, "-" and "_", and begin with a letter or a digit',
    });
  }
  return id;
}

/** How a dialect writes an environment; a custom one in upper case, where the standard ones are. */
export function spellEnvironment(id: string, dialect: EnvironmentDialect): string {
  if (isStandard(id)) return SPELLINGS[id][dialect];
  return dialect === 'lower' ? id : id.toUpperCase();
}
