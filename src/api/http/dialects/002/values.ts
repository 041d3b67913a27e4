import type { ContentInput } from '../../../../service/configurations/content.ts';
import type { ConfigType, Json, ValueType } from '../../../../service/model.ts';
import { invalid, ServiceError } from '../../../../service/service-error.ts';
import { textOf, typeOfText } from '../../../../service/values/value-types.ts';
import type { ShownValue } from '../../../../service/views.ts';

/** The types that 002's API knows; `valueSubtype` says which of the finer ones it is. */
export const COARSE_TYPES = ['STRING', 'NUMBER', 'BOOLEAN', 'JSON', 'SECRET'] as const;
export const SUBTYPES = ['STRING', 'INTEGER', 'FLOAT', 'BOOLEAN', 'JSON', 'ARRAY', 'SECRET'] as const;

type CoarseType = (typeof COARSE_TYPES)[number];
type Subtype = (typeof SUBTYPES)[number];

const COARSE: Readonly<Record<ValueType, CoarseType>> = {
  string: 'STRING',
  integer: 'NUMBER',
  float: 'NUMBER',
  boolean: 'BOOLEAN',
  json: 'JSON',
  array: 'JSON',
  secret: 'SECRET',
};

/** A value as 002 shows it: text. */
export interface TextValue {
  readonly value: string;
  readonly valueType: CoarseType;
  readonly valueSubtype: Subtype;
}

export function textValueOf({ type, json }: ShownValue): TextValue {
  return { value: textOf(json, type), ...typesOf(type) };
}

export function typesOf(type: ValueType): Pick<TextValue, 'valueType' | 'valueSubtype'> {
  return { valueType: COARSE[type], valueSubtype: type.toUpperCase() as Subtype };
}

/** What 002 and 000 let a request say of a configuration, extensions included. */
export interface TextContent {
  readonly value?: string;
  readonly valueType?: CoarseType;
  readonly valueSubtype?: Subtype;
  readonly description?: string;
  readonly schema?: string | null;
  readonly tags?: readonly string[];
  readonly configType?: ConfigType;
  readonly expiresAt?: string | null;
  readonly ttlSeconds?: number;
}

/** @throws ServiceError `invalid` for types that do not go together */
export function contentOf(body: TextContent): ContentInput {
  const { value, description, schema, tags, configType, expiresAt, ttlSeconds } = body;
  return {
    ...(value === undefined ? {} : { value: { text: value } }),
    type: typeOf(body),
    description,
    schema,
    tags,
    configType,
    expiresAt,
    ttlSeconds,
  };
}

function typeOf({ value, valueType, valueSubtype }: TextContent): ValueType | undefined {
  if (valueSubtype !== undefined) {
    const type = valueSubtype.toLowerCase() as ValueType;
    if (valueType === undefined || COARSE[type] === valueType) return type;
    throw invalid({ field: 'valueSubtype', message: `is none of ${valueType}` });
  }
  if (valueType === undefined) return undefined;
  if (valueType !== 'NUMBER' && valueType !== 'JSON') return valueType.toLowerCase() as ValueType;
  if (value === undefined) throw invalid({ field: 'valueType', message: 'goes with a value' });
  return typeOfText(value, valueType === 'NUMBER' ? 'number' : 'json');
}

const CONFIG_ID_LENGTH = 24;
const VERSION_DIGITS = 12;

/** The id that a version has: like that of its configuration, with the version in its last digits. */
export function versionIdOf(configId: string, version: number): string {
  return `${configId.slice(0, CONFIG_ID_LENGTH)}${version.toString(16).padStart(VERSION_DIGITS, '0')}`;
}

/** The version that an id or a number means. @throws ServiceError `not-found` for what no version can have */
export function versionOf(configId: string, versionId: string): number {
  if (/^\d{1,10}$/.test(versionId) && Number(versionId) >= 1) return Number(versionId);
  const [start, end] = [versionId.slice(0, CONFIG_ID_LENGTH), versionId.slice(CONFIG_ID_LENGTH)];
  if (start === configId.slice(0, CONFIG_ID_LENGTH) && /^[0-9a-f]{12}$/.test(end)) {
    return Number.parseInt(end, 16);
  }
  const message = `there is no version ${versionId}`;
  throw new ServiceError('not-found', message, { problems: [{ field: 'versionId', message }] });
}

/** A value for a key that has none: what the caller gave, as text. */
export function defaultValueOf(key: string, text: string) {
  const json: Json = text;
  return { key, ...textValueOf({ type: 'string', json, isMasked: false }), version: 0, source: 'default' };
}
