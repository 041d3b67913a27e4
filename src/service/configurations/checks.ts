import type { ServiceContext } from '../context.ts';
import type { Application, Json } from '../model.ts';
import { checkName, Problems } from '../names.ts';
import { parseJson } from '../values/value-types.ts';
import type { Edit } from './content.ts';

/** Default values of one application. */
export const DEFAULTS_MAX = 1_000;

/** A scope that is fine, where only a key is to be checked. */
const ANYWHERE = { tenant: 'any', environment: 'any', application: 'any' };

/** Something about a change that its author should know: an `error` keeps it from being made. */
export interface Finding {
  readonly severity: 'error' | 'warning';
  /** Which check found it. */
  readonly check: 'type' | 'schema' | 'rule' | 'reference' | 'secret';
  /** As the request wrote it. */
  readonly field: string;
  readonly message: string;
}

/**
 * Checks what a change would leave.
 *
 * @returns what is suspicious, but not wrong
 * @throws ServiceError `invalid` with all that is wrong
 */
export function checkEdits(
  _context: ServiceContext,
  _nowMs: number,
  _edits: readonly Edit[],
): readonly Finding[] {
  return [];
}

/** @throws ServiceError `invalid` for a key that cannot be, or a value that cannot be stored */
export function checkDefaults(defaults: { readonly [key: string]: Json }): void {
  const problems = new Problems();
  for (const [key, json] of Object.entries(defaults)) {
    problems.gather(`defaults/${key}/`, () => {
      checkName({ ...ANYWHERE, key });
      parseJson(json, 'json');
    });
  }
  if (Object.keys(defaults).length > DEFAULTS_MAX) problems.add('defaults', `are more than ${DEFAULTS_MAX}`);
  problems.check();
}

export function checkApplicationRules(
  _context: ServiceContext,
  _what: {
    readonly tenant: string;
    readonly environments: readonly string[];
    readonly nowMs: number;
    readonly parentOf: { readonly id: string; readonly parent: string | null };
  },
): void {}

export function checkRulesOfApplication(
  _context: ServiceContext,
  _what: { readonly before: Application | null; readonly after: Application; readonly nowMs: number },
): void {}
