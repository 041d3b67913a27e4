import type { FastifySchema } from 'fastify';
import { VALUE_TYPES } from '../../../service/names.ts';
import { MAX_STALENESS_MS_MAX } from './limits.ts';

/** JSON Schema, as the requests are checked by it and as the OpenAPI document shows it. */
export interface Schema {
  readonly [keyword: string]: unknown;
}

export type Properties = Readonly<Record<string, Schema>>;

export const TEXT: Schema = { type: 'string' };
export const TEXTS: Schema = { type: 'array', items: TEXT };
export const FLAG: Schema = { type: 'boolean' };
export const COUNT: Schema = { type: 'integer', minimum: 0 };
export const NUMBER_FROM_1: Schema = { type: 'integer', minimum: 1 };
export const TIME: Schema = { type: 'string', format: 'date-time' };
/** Any JSON. */
export const ANY: Schema = { description: 'Any JSON' };
export const VALUE_TYPE: Schema = { type: 'string', enum: VALUE_TYPES };

export function described(schema: Schema, description: string): Schema {
  return { ...schema, description };
}

/** In an answer null stands for what is not there. */
export function nullable(schema: Schema): Schema {
  return { ...schema, nullable: true };
}

/** An object of an answer, or of a request that may hold what nobody asked for. */
export function object(properties: Properties, required: readonly string[] = []): Schema {
  return required.length === 0 ? { type: 'object', properties } : { type: 'object', required, properties };
}

/** An object of a request: what it does not know is refused. */
export function strictObject(properties: Properties, required: readonly string[] = []): Schema {
  return { ...object(properties, required), additionalProperties: false };
}

export function list(items: Schema, more: Schema = {}): Schema {
  return { type: 'array', items, ...more };
}

/** A schema with a name of its own in the document. */
export function named(name: string, schema: Schema): Schema & { readonly $id: string } {
  return { $id: name, ...schema };
}

export function refTo({ $id }: { readonly $id: string }): Schema {
  return { $ref: `${$id}#` };
}

/** What a route is, once for fastify and once for the document. */
export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tag: string;
  /**
   * A read takes a consistency, and may be answered by 304; a change says why it is made; a stream begins at a cursor; a
   * call does none of these.
   */
  readonly kind: 'read' | 'change' | 'stream' | 'call';
  readonly params?: Properties;
  readonly query?: Properties;
  /** Of `query`. */
  readonly required?: readonly string[];
  readonly body?: Schema;
  /** Of a body that is no JSON: its media types. */
  readonly bodyTypes?: readonly string[];
  /** By status. Null = nothing in it. */
  readonly answers: Readonly<
    Record<number, { readonly description: string; readonly schema: Schema | null }>
  >;
  /** Of an answer that is no JSON. */
  readonly answerTypes?: readonly string[];
  /** A change that honours `If-Match`, and is answered by 412 then. */
  readonly isConditional?: boolean;
  /** Also take parameters that are not known, as the dialect's document does not forbid them. */
  readonly isLenient?: boolean;
}

/** A schema of fastify with what only the document shows. */
export interface DocumentedSchema extends FastifySchema {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  /** Header fields: they are not checked by schemas. */
  readonly shownHeaders: Schema;
  /** The body's media types, when it is no JSON. */
  readonly consumes?: readonly string[];
}

const READ_QUERY: Properties = {
  consistency: described(
    { type: 'string', enum: ['strong', 'bounded', 'eventual'], default: 'strong' },
    'How fresh the answer is: strong misses nothing that was acknowledged before; eventual asks nobody',
  ),
  maxStalenessMs: described(
    { type: 'integer', minimum: 0, maximum: MAX_STALENESS_MS_MAX, default: 1_000 },
    'With consistency=bounded: how old the answer may be, in milliseconds',
  ),
};

/** Of reads of what holds in an environment. */
export const RESOLVE: Schema = described(
  { ...FLAG, default: false },
  'Fill in references to other keys (${other.key}); those to secrets stay as they are',
);

const CHANGE_QUERY: Properties = {
  reason: described(TEXT, 'Why; also as changeDescription, and in the body'),
  changeDescription: described(TEXT, 'The same as reason'),
  changeSet: described(TEXT, 'The named release that the change belongs to; also in the body'),
};

/** What a change may say of itself in its body. */
export const CHANGE_FIELDS: Properties = {
  reason: described(TEXT, 'Why'),
  changeDescription: described(TEXT, 'The same as reason'),
  changeSet: described(TEXT, 'The named release that the change belongs to'),
};

const COMMON_HEADERS: Properties = {
  'X-Conclave-User': described(TEXT, 'Who asks, while the store does not authenticate'),
  'X-Conclave-Tenant': described(TEXT, 'The tenant; else the default one'),
};
const READ_HEADERS: Properties = {
  ...COMMON_HEADERS,
  'If-None-Match': described(TEXT, 'Entity tags that the caller has: 304 when one is that of the answer'),
};
const CHANGE_HEADERS: Properties = {
  ...COMMON_HEADERS,
  'Idempotency-Key': described(TEXT, 'The same request under the same key is done once'),
};

const CONDITION: Properties = {
  'If-Match': described(TEXT, 'Entity tags of which one must be that of what is changed'),
};

const STREAM_HEADERS: Properties = {
  ...COMMON_HEADERS,
  'Last-Event-ID': described(
    TEXT,
    'Of server-sent events: the cursor to go on from, in the place of revision',
  ),
};

const QUERIES: Readonly<Record<Operation['kind'], Properties>> = {
  read: READ_QUERY,
  change: CHANGE_QUERY,
  stream: {},
  call: {},
};
const HEADERS: Readonly<Record<Operation['kind'], Properties>> = {
  read: READ_HEADERS,
  change: CHANGE_HEADERS,
  stream: STREAM_HEADERS,
  call: COMMON_HEADERS,
};

/** The schema of an operation's route. */
export function operation(spec: Operation): DocumentedSchema {
  const {
    operationId,
    summary,
    tag,
    kind,
    params,
    query,
    required,
    body,
    bodyTypes,
    isConditional,
    isLenient,
  } = spec;
  const properties = { ...query, ...QUERIES[kind] };
  const make = isLenient === true ? object : strictObject;
  return {
    operationId,
    summary,
    tags: [tag],
    querystring: make(properties, required),
    ...(params === undefined ? {} : { params: object(params, Object.keys(params)) }),
    ...(body === undefined ? {} : { body }),
    ...(bodyTypes === undefined ? {} : { consumes: bodyTypes }),
    shownHeaders: object({ ...HEADERS[kind], ...(isConditional === true ? CONDITION : {}) }),
    response: responsesOf(spec),
  };
}

function responsesOf(spec: Operation): Schema {
  const { answerTypes = ['application/json'], kind } = spec;
  const answers = { ...refusalsOf(spec), ...spec.answers };
  const shown = Object.entries(answers).map(([status, { description, schema }]) => {
    if (schema === null) return [status, { description, type: 'null' }] as const;
    const types = Number(status) < 300 ? answerTypes : ['application/json'];
    const content = contentOf(schema, types);
    return [
      status,
      { description, content: Number(status) < 300 ? content : { ...content, ...FAILED } },
    ] as const;
  });
  const unchanged = [['304', { description: 'The caller has it already', type: 'null' }]] as const;
  return Object.fromEntries(kind === 'read' ? [...shown, ...unchanged] : shown);
}

/** What the kind of its request may be refused for. */
function refusalsOf({ body, isConditional }: Operation): Operation['answers'] {
  const schema = { $ref: 'Problem#' };
  return {
    ...(isConditional === true && {
      412: { description: 'If-Match names another revision', schema },
    }),
    ...(body !== undefined && {
      413: { description: 'The request is too large', schema },
      415: { description: 'The body is of another type than is taken', schema },
    }),
  };
}

/** Any failure may be told so. */
const FAILED = { 'application/problem+json': { schema: { $ref: 'Problem#' } } };

function contentOf(schema: Schema, types: readonly string[]): Schema {
  if (schema['$ref'] === 'Problem#') return {};
  return Object.fromEntries(types.map((type) => [type, { schema }]));
}
