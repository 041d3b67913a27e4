import { ENVIRONMENT_LENGTH_MAX } from './environments/spelling.ts';
import type { ConfigType, ConfigurationName, Operation, Scope, ValueType } from './model.ts';
import { type FieldProblem, invalid, ServiceError } from './service-error.ts';

/** The lengths that REQUIREMENTS settles, in characters, and the service's own. Longer is refused, the field named. */
export const LENGTHS = {
  tenant: 100,
  environment: ENVIRONMENT_LENGTH_MAX,
  application: 100,
  key: 255,
  tag: 50,
  user: 100,
  description: 4_096,
  reason: 4_096,
  changeSet: 100,
  idempotencyKey: 255,
} as const;

/** Bytes of a JSON Schema. */
export const SCHEMA_BYTES_MAX = 64 * 1024;
/** Tags of one configuration. */
export const TAGS_MAX = 50;

export const VALUE_TYPES: readonly ValueType[] = [
  'string',
  'integer',
  'float',
  'boolean',
  'json',
  'array',
  'secret',
];

export const CONFIG_TYPES: readonly ConfigType[] = [
  'APPLICATION_CONFIG',
  'FEATURE_FLAG',
  'SECRET',
  'ENVIRONMENT_VARIABLE',
  'BUSINESS_RULE',
];

const IS_OPERATION: Readonly<Record<Operation, true>> = {
  create: true,
  update: true,
  delete: true,
  undelete: true,
  rollback: true,
  bulk: true,
  promote: true,
  import: true,
  merge: true,
  adopt: true,
  revert: true,
  expire: true,
  environment: true,
  application: true,
  reveal: true,
};
/** What a change record may say that was done. */
export const OPERATIONS: readonly Operation[] = Object.keys(IS_OPERATION) as Operation[];

/** No slash, and nothing that a path could take for another place. */
const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const SEGMENT_WORDS = 'letters, digits, "_", "-" and ".", and begin with a letter, a digit or "_"';
const ENVIRONMENT = /^[a-z0-9][a-z0-9_-]*$/;
const KEY = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/;

/** Collects what is wrong with a request, so that its caller hears of all of it at once. */
export class Problems {
  readonly #problems: FieldProblem[] = [];

  add(field: string, message: string): void {
    this.#problems.push({ field, message });
  }

  addAll(problems: readonly FieldProblem[]): void {
    this.#problems.push(...problems);
  }

  get list(): readonly FieldProblem[] {
    return this.#problems;
  }

  get isEmpty(): boolean {
    return this.#problems.length === 0;
  }

  /** Runs a check; what it finds `invalid` is added, below `prefix`. */
  gather(prefix: string, check: () => void): void {
    try {
      check();
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'invalid') throw error;
      for (const { field, message } of error.problems) this.add(`${prefix}${field}`, message);
    }
  }

  /** @throws ServiceError `invalid` when there are any */
  check(): void {
    if (!this.isEmpty) throw invalid(...this.#problems);
  }
}

/** @throws ServiceError `invalid`, which names every field that is wrong */
export function checkScope(scope: Scope): void {
  const problems = new Problems();
  scopeProblems(scope, problems);
  problems.check();
}

/** @throws ServiceError `invalid`, which names every field that is wrong */
export function checkName(name: ConfigurationName): void {
  const problems = new Problems();
  scopeProblems(name, problems);
  textProblems('key', name.key, problems);
  if (name.key.length > 0 && !KEY.test(name.key)) {
    problems.add('key', 'must be words of letters, digits, "_" and "-", joined by dots');
  }
  problems.check();
}

/** @throws ServiceError `invalid` */
export function checkTenant(tenant: string): void {
  const problems = new Problems();
  segmentProblems('tenant', tenant, problems);
  problems.check();
}

/** @throws ServiceError `invalid` */
export function checkApplicationName(name: string): void {
  const problems = new Problems();
  segmentProblems('application', name, problems);
  problems.check();
}

/** @throws ServiceError `invalid` unless it is a canonical id */
export function checkEnvironmentName(id: string): void {
  const problems = new Problems();
  environmentProblems(id, problems);
  problems.check();
}

/**
 * A text that people wrote. Line breaks and tabs are fine.
 *
 * @throws ServiceError `invalid`
 */
export function checkText(field: 'description' | 'reason', text: string): void {
  const problems = new Problems();
  if (text.length > LENGTHS[field]) problems.add(field, `is longer than ${LENGTHS[field]} characters`);
  if (CONTROL.test(text.replace(/[\t\r\n]/g, ''))) problems.add(field, 'has control characters');
  problems.check();
}

/** @throws ServiceError `invalid` */
export function checkLabel(field: 'tag' | 'user' | 'changeSet' | 'idempotencyKey', text: string): void {
  const problems = new Problems();
  textProblems(field, text, problems);
  if (field === 'changeSet' && !SEGMENT.test(text)) problems.add(field, `must be ${SEGMENT_WORDS}`);
  problems.check();
}

/** Sorted, each once. @throws ServiceError `invalid`: the field `tags/2` is wrong */
export function checkTags(tags: readonly string[]): readonly string[] {
  const problems = new Problems();
  for (const [at, tag] of tags.entries()) labelProblems(`tags/${at}`, tag, problems);
  const sorted = [...new Set(tags)].sort();
  if (sorted.length > TAGS_MAX) problems.add('tags', `are more than ${TAGS_MAX}`);
  problems.check();
  return sorted;
}

function labelProblems(field: string, tag: string, problems: Problems): void {
  if (tag.length === 0) problems.add(field, 'must not be empty');
  if (tag.length > LENGTHS.tag) problems.add(field, `is longer than ${LENGTHS.tag} characters`);
  if (CONTROL.test(tag)) problems.add(field, 'has control characters');
}

function scopeProblems({ tenant, environment, application }: Scope, problems: Problems): void {
  segmentProblems('tenant', tenant, problems);
  environmentProblems(environment, problems);
  segmentProblems('application', application, problems);
}

function environmentProblems(id: string, problems: Problems): void {
  textProblems('environment', id, problems);
  if (id.length > 0 && !ENVIRONMENT.test(id)) {
    problems.add('environment', 'must be lower-case letters, digits, "-" and "_"');
  }
}

function segmentProblems(field: 'tenant' | 'application', text: string, problems: Problems): void {
  textProblems(field, text, problems);
  if (text.length > 0 && !SEGMENT.test(text)) problems.add(field, `must be ${SEGMENT_WORDS}`);
  // The service keeps its own rows there.
  if (field === 'tenant' && text === '_conclave') problems.add(field, 'is the name of the service itself');
}

function textProblems(field: keyof typeof LENGTHS, text: string, problems: Problems): void {
  if (text.length === 0) problems.add(field, 'must not be empty');
  if (text.length > LENGTHS[field]) problems.add(field, `is longer than ${LENGTHS[field]} characters`);
  if (CONTROL.test(text)) problems.add(field, 'has control characters');
}
