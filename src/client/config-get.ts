import type { Json } from '../config-format/values.ts';
import type { ConfigEntry } from './config-entry.ts';

/** Why a value could not be given. */
export type ConfigErrorCode =
  /** Nobody has it: no environment of the chain, no default, no variable. */
  | 'missing'
  /** It is of another type than the one asked for. */
  | 'wrong-type'
  /** It is a secret: `secret()` gets it. */
  | 'secret'
  /** What stands in the store is no JSON: it was not put by the service. */
  | 'malformed';

/** A value that could not be given. The message names the key, never the value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code: ConfigErrorCode;
  readonly key: string;

  constructor(code: ConfigErrorCode, { key, message }: { readonly key: string; readonly message: string }) {
    super(message);
    this.code = code;
    this.key = key;
  }
}

/** A type that a value can be asked for as, with how it is taken from JSON and from the text of a variable. */
export interface Wanted<T> {
  /** With its article, for the message. */
  readonly name: string;
  readonly ofJson: (json: Json) => T | undefined;
  readonly ofText: (text: string) => T | undefined;
}

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const TRUTHS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false],
]);

/** The types that the client's getters give. */
export const WANTED: {
  readonly string: Wanted<string>;
  readonly number: Wanted<number>;
  readonly integer: Wanted<number>;
  readonly boolean: Wanted<boolean>;
  readonly json: Wanted<Json>;
  readonly array: Wanted<readonly Json[]>;
} = {
  string: {
    name: 'a string',
    ofJson: (json) => (typeof json === 'string' ? json : undefined),
    ofText: (text) => text,
  },
  number: { name: 'a number', ofJson: numberOf, ofText: (text) => numberOf(numberText(text)) },
  integer: { name: 'an integer', ofJson: integerOf, ofText: (text) => integerOf(numberText(text)) },
  boolean: {
    name: 'true or false',
    ofJson: (json) => (typeof json === 'boolean' ? json : undefined),
    ofText: (text) => TRUTHS.get(text.trim().toLowerCase()),
  },
  json: { name: 'JSON', ofJson: (json) => json, ofText: jsonText },
  array: { name: 'an array', ofJson: arrayOf, ofText: (text) => arrayOf(jsonText(text)) },
};

/**
 * The value of an entry as what was asked for. Nothing is converted, but a variable is text and read as the type.
 *
 * @throws ConfigError
 */
export function take<T>(key: string, entry: ConfigEntry | undefined, wanted: Wanted<T>): T {
  if (entry === undefined) throw new ConfigError('missing', { key, message: `there is no ${key}` });
  if (entry.type === 'secret')
    throw new ConfigError('secret', { key, message: `${key} is a secret; secret() gets it` });
  if (entry.type === 'malformed')
    throw new ConfigError('malformed', { key, message: `what is stored as ${key} is no JSON` });
  const value = entry.source === 'variable' ? wanted.ofText(entry.json as string) : wanted.ofJson(entry.json);
  if (value !== undefined) return value;
  const what = entry.source === 'variable' ? `the variable for ${key}` : key;
  throw new ConfigError('wrong-type', { key, message: `${what} is not ${wanted.name}` });
}

function numberOf(json: Json | undefined): number | undefined {
  return typeof json === 'number' && Number.isFinite(json) ? json : undefined;
}

function integerOf(json: Json | undefined): number | undefined {
  return Number.isSafeInteger(json) ? (json as number) : undefined;
}

function arrayOf(json: Json | undefined): readonly Json[] | undefined {
  return Array.isArray(json) ? (json as readonly Json[]) : undefined;
}

function numberText(text: string): number | undefined {
  return NUMBER.test(text.trim()) ? Number(text) : undefined;
}

function jsonText(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
