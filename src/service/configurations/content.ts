import { timeOf } from '../caller.ts';
import type { ServiceContext } from '../context.ts';
import { configurationId } from '../keyspace.ts';
import type {
  ConfigType,
  Configuration,
  ConfigurationName,
  Json,
  SealedValue,
  StoredValue,
  ValueType,
} from '../model.ts';
import { CONFIG_TYPES, checkTags, checkText, Problems, SCHEMA_BYTES_MAX, VALUE_TYPES } from '../names.ts';
import type { Stored } from '../projection-state.ts';
import { MASK } from '../secrets/keyring.ts';
import { invalid } from '../service-error.ts';
import { sameJson } from '../values/json-limits.ts';
import { mergePatch } from '../values/merge-patch.ts';
import { parseJson, parseText, subtypeOf, typeOfText } from '../values/value-types.ts';

/** A value as it comes in: JSON, or a text that is read as its type says. */
export type ValueInput = { readonly json: Json } | { readonly text: string };

/** What a request may say of a configuration. What is left out stays as it is, or is the default of a new one. */
export interface ContentInput {
  readonly value?: ValueInput | undefined;
  /** RFC 7396: changes parts of the JSON value, instead of `value`. */
  readonly mergePatch?: Json | undefined;
  /** Default: that of what is there if the value fits it, else the finest that fits. */
  readonly type?: ValueType | undefined;
  readonly configType?: ConfigType | undefined;
  readonly description?: string | undefined;
  readonly schema?: string | null | undefined;
  readonly tags?: readonly string[] | undefined;
  /** A time, or null for never. */
  readonly expiresAt?: string | null | undefined;
  /** Instead of `expiresAt`: seconds from now. */
  readonly ttlSeconds?: number | undefined;
}

/** What a version holds, with the value in plain as far as it can be known. */
export interface Content {
  readonly configType: ConfigType;
  readonly description: string;
  readonly type: ValueType;
  /** Undefined = a secret that cannot be opened here. */
  readonly plain: Json | undefined;
  /** Of secrets: what was sealed already. */
  readonly sealed: SealedValue | null;
  readonly schema: string | null;
  readonly tags: readonly string[];
  readonly expiresAt: string | null;
}

/** One configuration as a change would leave it. */
export interface Edit {
  readonly name: ConfigurationName;
  /** What names it in the request, before the names of its fields: empty, or like `items/3/`. */
  readonly field: string;
  /** The row that was read; one that was deleted counts its versions on. */
  readonly before: Stored<Configuration> | null;
  /** Null = it is deleted. */
  readonly content: Content | null;
}

/** The longest time to live: a hundred years. */
const TTL_SECONDS_MAX = 100 * 365 * 86_400;

/** What a stored configuration, or a version of it, holds. */
export function contentOf(
  context: ServiceContext,
  stored: Pick<Configuration, 'configType' | 'description' | 'schema' | 'tags' | 'expiresAt' | 'value'>,
  id: string,
): Content {
  const { configType, description, schema, tags, expiresAt, value } = stored;
  const common = { configType, description, schema, tags, expiresAt, type: value.type };
  if (value.type !== 'secret') return { ...common, plain: value.json, sealed: null };
  return { ...common, plain: openedIfPossible(context, value.sealed, id), sealed: value.sealed };
}

/** How the content is stored. @throws ServiceError `invalid` for a secret where there is no key */
export function storedValueOf(
  context: ServiceContext,
  content: Content,
  name: ConfigurationName,
): StoredValue {
  if (content.type !== 'secret') return { type: content.type, json: content.plain ?? null };
  if (content.sealed !== null) return { type: 'secret', sealed: content.sealed };
  if (context.keyring === null || content.plain === undefined) throw noKey();
  return { type: 'secret', sealed: context.keyring.seal(content.plain, configurationId(name)) };
}

/** Whether both say the same; of secrets that cannot be opened, whether they are the same envelope. */
export function sameContent(left: Content, right: Content): boolean {
  return (
    left.type === right.type &&
    left.configType === right.configType &&
    left.description === right.description &&
    left.schema === right.schema &&
    left.expiresAt === right.expiresAt &&
    left.tags.join('\0') === right.tags.join('\0') &&
    sameValue(left, right)
  );
}

function sameValue(left: Content, right: Content): boolean {
  if (left.plain !== undefined && right.plain !== undefined) return sameJson(left.plain, right.plain);
  return left.sealed !== null && left.sealed.text === right.sealed?.text;
}

/**
 * The content that an input makes of what was there.
 *
 * @param before null = there was none
 * @throws ServiceError `invalid`, which names every field that is wrong; `too-large`
 */
export function contentFrom(
  context: ServiceContext,
  input: ContentInput,
  { before, nowMs }: { readonly before: Content | null; readonly nowMs: number },
): Content {
  checkFields(input, before);
  const type = typeOf(input, before);
  const plain = plainOf(input, { before, type });
  if (type === 'secret' && plain !== undefined && context.keyring === null) throw noKey();
  const staysSealed = before !== null && before.type === 'secret' && type === 'secret' && plain === undefined;
  return {
    configType: input.configType ?? configTypeOf(type, before),
    description: input.description ?? before?.description ?? '',
    type,
    plain: plain ?? before?.plain,
    sealed: staysSealed ? before.sealed : null,
    schema: input.schema === undefined ? (before?.schema ?? null) : emptyIsNull(input.schema),
    tags: input.tags === undefined ? (before?.tags ?? []) : checkTags(input.tags),
    expiresAt: expiryOf(input, { before, nowMs }),
  };
}

function configTypeOf(type: ValueType, before: Content | null): ConfigType {
  if (before?.type === type) return before.configType;
  if (type === 'secret') return 'SECRET';
  return before === null || before.configType === 'SECRET' ? 'APPLICATION_CONFIG' : before.configType;
}

function checkFields(input: ContentInput, before: Content | null): void {
  const problems = new Problems();
  if (input.value === undefined && input.mergePatch === undefined && before === null) {
    problems.add('value', 'is missing');
  }
  if (input.value !== undefined && input.mergePatch !== undefined) {
    problems.add('mergePatch', 'goes without a value');
  }
  if (input.type !== undefined && !VALUE_TYPES.includes(input.type)) {
    problems.add('type', `must be one of ${VALUE_TYPES.join(', ')}`);
  }
  if (input.configType !== undefined && !CONFIG_TYPES.includes(input.configType)) {
    problems.add('configType', `must be one of ${CONFIG_TYPES.join(', ')}`);
  }
  if (input.configType === 'SECRET' && (input.type ?? 'secret') !== 'secret') {
    problems.add('type', 'must be secret where configType is SECRET');
  }
  if (Buffer.byteLength(input.schema ?? '') > SCHEMA_BYTES_MAX) {
    problems.add('schema', `is larger than ${SCHEMA_BYTES_MAX / 1024} KiB`);
  }
  problems.gather('', () => checkText('description', input.description ?? ''));
  problems.check();
}

function typeOf(input: ContentInput, before: Content | null): ValueType {
  if (input.type !== undefined) return input.type;
  if (input.configType === 'SECRET') return 'secret';
  const { value } = input;
  if (value === undefined) return before?.type ?? 'json';
  if ('text' in value) return before === null ? 'string' : typeThatTakes(value.text, before.type);
  return before !== null && fits(value.json, before.type) ? before.type : subtypeOf(value.json);
}

/** A text replaces a value of its kind: an integer by a number with a fraction, and a list by an object. */
function typeThatTakes(text: string, before: ValueType): ValueType {
  if (before === 'integer') return typeOfText(text, 'number');
  return before === 'array' ? typeOfText(text, 'json') : before;
}

function fits(json: Json, type: ValueType): boolean {
  const subtype = subtypeOf(json);
  return (
    subtype === type || type === 'secret' || type === 'json' || (type === 'float' && subtype === 'integer')
  );
}

/** The new value; undefined when it stays as it was. */
function plainOf(
  { value, mergePatch: patch }: ContentInput,
  { before, type }: { readonly before: Content | null; readonly type: ValueType },
): Json | undefined {
  if (isMask(value) && before?.type === 'secret' && type === 'secret') return undefined;
  if (value === undefined && before?.type === 'secret' && type !== 'secret') {
    // Else it would be shown without a record that says so.
    throw invalid({ field: 'value', message: 'is needed: a secret is made plain with another value only' });
  }
  if (patch !== undefined) {
    if (before !== null && before.plain === undefined) throw noKey();
    return parseJson(mergePatch(before?.plain, parseJson(patch, 'json')), type);
  }
  if (value !== undefined) return 'text' in value ? parseText(value.text, type) : parseJson(value.json, type);
  if (before === null || before.type === type) return undefined;
  if (before.plain === undefined) throw noKey();
  return parseJson(before.plain, type);
}

/** Whoever sends back what they were shown of a secret leaves it as it is. */
function isMask(value: ValueInput | undefined): boolean {
  if (value === undefined) return false;
  return ('text' in value ? value.text : value.json) === MASK;
}

function expiryOf(
  { expiresAt, ttlSeconds }: ContentInput,
  { before, nowMs }: { readonly before: Content | null; readonly nowMs: number },
): string | null {
  if (ttlSeconds !== undefined) {
    if (expiresAt !== undefined) throw invalid({ field: 'ttlSeconds', message: 'goes without expiresAt' });
    if (!(ttlSeconds > 0 && ttlSeconds <= TTL_SECONDS_MAX)) {
      throw invalid({ field: 'ttlSeconds', message: `must be above 0 and at most ${TTL_SECONDS_MAX}` });
    }
    return new Date(nowMs + Math.ceil(ttlSeconds * 1000)).toISOString();
  }
  if (expiresAt === undefined) return before?.expiresAt ?? null;
  if (expiresAt === null) return null;
  const ms = timeOf(expiresAt);
  if (Number.isNaN(ms)) throw invalid({ field: 'expiresAt', message: 'is no time in ISO 8601' });
  if (ms <= nowMs) throw invalid({ field: 'expiresAt', message: 'is in the past' });
  return new Date(ms).toISOString();
}

function emptyIsNull(schema: string | null): string | null {
  return schema === '' ? null : schema;
}

function openedIfPossible({ keyring }: ServiceContext, sealed: SealedValue, id: string): Json | undefined {
  try {
    return keyring?.open(sealed, id);
  } catch {
    return undefined;
  }
}

function noKey(): Error {
  return invalid({ field: 'value', message: 'this server has no key for secrets (--secret-key-file)' });
}
