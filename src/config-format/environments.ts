/** Those that every tenant has without having made them, in the order of a change's way. */
export const STANDARD_ENVIRONMENTS = ['development', 'test', 'staging', 'production'] as const;

/** An environment that every tenant has. */
export type StandardEnvironment = (typeof STANDARD_ENVIRONMENTS)[number];

/**
 * How a dialect writes the four standard environments: `short` is 002's API (DEV, TEST, STAGING, PROD), `long` is 001
 * (DEVELOPMENT, TEST, STAGING, PRODUCTION), `lower` is 004 (dev, test, staging, prod).
 */
export type EnvironmentDialect = 'short' | 'long' | 'lower';

/** How each dialect writes each of them. */
export const SPELLINGS: Readonly<Record<StandardEnvironment, Readonly<Record<EnvironmentDialect, string>>>> =
  {
    development: { short: 'DEV', long: 'DEVELOPMENT', lower: 'dev' },
    test: { short: 'TEST', long: 'TEST', lower: 'test' },
    staging: { short: 'STAGING', long: 'STAGING', lower: 'staging' },
    production: { short: 'PROD', long: 'PRODUCTION', lower: 'prod' },
  };

/** Every spelling that is taken, in lower case and without 002's prefix of enums. */
const CANONICAL: ReadonlyMap<string, StandardEnvironment> = new Map([
  ['testing', 'test'],
  ...STANDARD_ENVIRONMENTS.flatMap((id) =>
    Object.values(SPELLINGS[id]).map((spelling) => [spelling.toLowerCase(), id] as const),
  ),
]);

/** Of the names in 002's enum of gRPC. */
const ENUM_PREFIX = 'environment_';

/**
 * The id of an environment in any spelling: of a standard one its long name, of any other the text itself, both in lower
 * case. Whether it is a name that an environment can have is not checked.
 */
export function canonicalEnvironment(spelling: string): string {
  const lower = spelling.toLowerCase();
  const bare = lower.startsWith(ENUM_PREFIX) ? lower.slice(ENUM_PREFIX.length) : lower;
  return CANONICAL.get(bare) ?? lower;
}

/** Environments of one chain of inheritance, the first and the last included. */
export const CHAIN_MAX = 10;

/**
 * An environment and those that it inherits from, nearest first.
 *
 * @param parentOf the environment that one inherits from directly, or null
 */
export function chainFrom(id: string, parentOf: (id: string) => string | null): readonly string[] {
  const chain = [id];
  for (;;) {
    const parent = parentOf(chain.at(-1)!);
    // A cycle is refused when it is made; a row that was put by hand must not hang a reader.
    if (parent === null || chain.includes(parent) || chain.length === CHAIN_MAX) return chain;
    chain.push(parent);
  }
}
