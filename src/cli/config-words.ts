import { InvalidArgumentError } from 'commander';
import type { HttpCall } from '../client/http-client.ts';
import { ProblemError } from '../client/problem.ts';
import { configurationId } from '../config-format/ids.ts';
import type { HttpContext } from './http-context.ts';
import { oneLine, visible } from './visible.ts';

/** What commands of the configuration service share: words of the command line, paths, and text for tables. */

/** Characters of a value in a table. */
const CELL_LENGTH_MAX = 60;

/** The type of a value as people write it: the service's, in any case. */
export const TYPE_WORDS = [
  'string',
  'number',
  'integer',
  'float',
  'boolean',
  'json',
  'array',
  'secret',
] as const;
export type TypeWord = (typeof TYPE_WORDS)[number];

export function typeWord(text: string): TypeWord {
  const found = TYPE_WORDS.find((word) => word === text.toLowerCase());
  if (found === undefined) throw new InvalidArgumentError(`It is none of ${TYPE_WORDS.join(', ')}.`);
  return found;
}

/** 002's two fields for a type. */
export function typeFields(type: TypeWord | undefined): {
  readonly valueType?: string;
  readonly valueSubtype?: string;
} {
  switch (type) {
    case undefined:
      return {};
    case 'number':
      return { valueType: 'NUMBER' };
    case 'json':
      return { valueType: 'JSON' };
    case 'integer':
    case 'float':
      return { valueType: 'NUMBER', valueSubtype: type.toUpperCase() };
    case 'array':
      return { valueType: 'JSON', valueSubtype: 'ARRAY' };
    case 'string':
    case 'boolean':
    case 'secret':
      return { valueType: type.toUpperCase() };
  }
}

/** The type that a text means for a configuration that has none yet. */
export function guessedType(text: string): TypeWord {
  if (text === 'true' || text === 'false') return 'boolean';
  if (/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return 'number';
  if (/^\s*[[{]/.test(text) && isJson(text)) return 'json';
  return 'string';
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** What every change may say of itself. */
export interface ChangeFlags {
  readonly reason?: string;
  readonly changeSet?: string;
}

export function changeQuery({ reason, changeSet }: ChangeFlags): NonNullable<HttpCall['query']> {
  return { reason, changeSet };
}

/** The path of a configuration, whose id follows from its name. */
export function configPath(context: HttpContext, key: string): string {
  return `/api/v1/configurations/${configId(context, key)}`;
}

/** @param environment default: that of the command */
export function configId(context: HttpContext, key: string, environment = context.environment()): string {
  const application = context.application();
  const id = configurationId({ tenant: context.tenant, environment, application, key });
  context.names.set(id, `${key} of ${application} in ${environment}`);
  return id;
}

/** Whether a failure says that there is no such thing. */
export function isAbsent(error: unknown): boolean {
  return error instanceof ProblemError && error.status === 404;
}

/** A value in one cell: in one line, and not too long. */
export function cell(text: string): string {
  const line = oneLine(text);
  return line.length <= CELL_LENGTH_MAX ? line : `${line.slice(0, CELL_LENGTH_MAX - 3)}...`;
}

/** JSON for people: a string bare, but for what a terminal would act on. */
export function plainText(json: unknown): string {
  return visible(typeof json === 'string' ? json : String(JSON.stringify(json)));
}

/** `2026-11-22 09:20:01` in UTC. */
export function when(time: string | null | undefined): string {
  return time === null || time === undefined ? '' : time.replace('T', ' ').replace(/\.\d+Z$|Z$/, '');
}
