import { invalid } from '../service-error.ts';

/**
 * How a dialect writes the four standard environments: `short` is 002's API (DEV, TEST, STAGING, PROD), `long` is 001
 * (DEVELOPMENT, TEST, STAGING, PRODUCTION), `lower` is 004 (dev, test, staging, prod).
 */
export type EnvironmentDialect = 'short' | 'long' | 'lower';

/** The longest name of an environment (REQUIREMENTS). */
export const ENVIRONMENT_LENGTH_MAX = 20;

/** Those that every tenant has without having made them, in the order of a change's way. */
export const STANDARD_ENVIRONMENTS = ['development', 'test', 'staging', 'production'] as const;

type Standard = (typeof STANDARD_ENVIRONMENTS)[number];

const SPELLINGS: Readonly<Record<Standard, Readonly<Record<EnvironmentDialect, string>>>> = {
  development: { short: 'DEV', long: 'DEVELOPMENT', lower: 'dev' },
  test: { short: 'TEST', long: 'TEST', lower: 'test' },
  staging: { short: 'STAGING', long: 'STAGING', lower: 'staging' },
  production: { short: 'PROD', long: 'PRODUCTION', lower: 'prod' },
};

/** Every spelling that is taken, in lower case and without 002's prefix of enums. */
const CANONICAL: ReadonlyMap<string, Standard> = new Map([
  ['testing', 'test'],
  ...STANDARD_ENVIRONMENTS.flatMap((id) =>
    Object.values(SPELLINGS[id]).map((spelling) => [spelling.toLowerCase(), id] as const),
  ),
]);

/** Of the names in 002's enum of gRPC. */
const ENUM_PREFIX = 'environment_';

const NAME = /^[a-z0-9][a-z0-9_-]*$/;

/** Whether every tenant has this environment, made or not. */
export function isStandard(id: string): id is Standard {
  return (STANDARD_ENVIRONMENTS as readonly string[]).includes(id);
}

/**
 * The canonical id of an environment in any spelling: of a standard one its long name, of a custom one its name, both in
 * lower case.
 *
 * @throws ServiceError `invalid`, which names `field`, unless that is a name of 1 to 20 letters, digits, `-` and `_`
 */
export function environmentId(spelling: string, field = 'environment'): string {
  const lower = spelling.toLowerCase();
  const bare = lower.startsWith(ENUM_PREFIX) ? lower.slice(ENUM_PREFIX.length) : lower;
  const standard = CANONICAL.get(bare);
  if (standard !== undefined) return standard;
  if (lower.length > ENVIRONMENT_LENGTH_MAX) {
    throw invalid({ field, message: `is longer than ${ENVIRONMENT_LENGTH_MAX} characters` });
  }
  if (!NAME.test(lower)) {
    throw invalid({
      field,
      message: 'must be letters, digits, "-" and "_", and begin with a letter or a digit',
    });
  }
  return lower;
}

/** How a dialect writes an environment; a custom one in upper case, where the standard ones are. */
export function spellEnvironment(id: string, dialect: EnvironmentDialect): string {
  if (isStandard(id)) return SPELLINGS[id][dialect];
  return dialect === 'lower' ? id : id.toUpperCase();
}
