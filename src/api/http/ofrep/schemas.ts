import { READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  ANY,
  type DocumentedSchema,
  described,
  list,
  named,
  object,
  refTo,
  type Schema,
  TEXT,
} from '../rest/schema.ts';

/** What the document says of OFREP. */

const METADATA: Schema = { type: 'object', additionalProperties: ANY };

const ANSWER = named(
  'OfrepAnswer',
  object(
    {
      key: TEXT,
      value: described(ANY, "Absent where the caller's default holds"),
      reason: TEXT,
      variant: TEXT,
      metadata: METADATA,
      errorCode: TEXT,
      errorDetails: TEXT,
    },
    ['key'],
  ),
);

const STREAM = object({
  type: TEXT,
  endpoint: object({ requestUri: TEXT }),
  inactivityDelaySec: { type: 'integer' },
});

const ANSWERS = named(
  'OfrepAnswers',
  object({ flags: list(refTo(ANSWER)), eventStreams: list(STREAM) }, ['flags']),
);

const FAILURE = named(
  'OfrepFailure',
  object({ key: described(TEXT, 'Of one flag'), errorCode: TEXT, errorDetails: TEXT, metadata: METADATA }),
);

/** With names of their own in the document. */
export const OFREP_COMPONENTS: readonly object[] = [ANSWER, ANSWERS, FAILURE];

const QUERY: Schema = object({
  application: described(TEXT, 'Whose flags; also as X-Conclave-Application'),
  environment: described(TEXT, 'Where; also as X-Conclave-Environment; else the default one'),
  tenant: described(TEXT, 'Also as X-Conclave-Tenant'),
  flagConfigEtag: described(
    TEXT,
    'Of the event that makes a client ask again: the answer is at least as new',
  ),
});
const PATH_PARTS: Readonly<Record<string, Schema>> = { application: TEXT, environment: TEXT };
const BODY: Schema = object({
  context: { type: 'object', description: 'Whom or what the flags are evaluated for' },
});
const HEADERS: Schema = object({
  'X-Conclave-Application': TEXT,
  'X-Conclave-Environment': TEXT,
  'X-Conclave-Tenant': TEXT,
  'X-API-Key': described(TEXT, 'A token, as in Authorization: Bearer'),
});

/** The schema of a route, by itself and below `/flags/{application}/{environment}`. */
export function ofrepSchema(route: 'flag' | 'flags' | 'events', isBelowScope: boolean): DocumentedSchema {
  const { summary, response, params } = ROUTES[route];
  const parts = { ...(isBelowScope ? PATH_PARTS : {}), ...params };
  return {
    operationId: `ofrep${isBelowScope ? 'Scoped' : ''}${route[0]!.toUpperCase()}${route.slice(1)}`,
    summary,
    tags: ['OFREP'],
    querystring: QUERY,
    ...(Object.keys(parts).length === 0 ? {} : { params: object(parts, Object.keys(parts)) }),
    ...(route === 'events' ? {} : { body: BODY }),
    shownHeaders: HEADERS,
    response,
  };
}

const shown = (description: string, schema: Schema): Schema => ({
  description,
  content: { 'application/json': { schema } },
});
const failures = (...more: readonly string[]): Schema =>
  Object.fromEntries(
    [...Object.keys(READ_PROBLEMS), '404', ...more].map((status) => [
      status,
      shown('Why there is no answer', refTo(FAILURE)),
    ]),
  );
const FAILURES = failures();
/** Of a request with a body. */
const BODY_FAILURES = failures('413', '415');

const ROUTES: Readonly<
  Record<
    'flag' | 'flags' | 'events',
    {
      readonly summary: string;
      readonly response: Schema;
      readonly params?: Readonly<Record<string, Schema>>;
    }
  >
> = {
  flag: {
    summary: 'Evaluate one flag (OpenFeature Remote Evaluation Protocol)',
    response: { '200': shown('What the flag answers', refTo(ANSWER)), ...BODY_FAILURES },
    params: { key: TEXT },
  },
  flags: {
    summary: 'Evaluate all flags (OpenFeature Remote Evaluation Protocol)',
    response: {
      '200': shown('What each flag answers', refTo(ANSWERS)),
      '304': { description: 'The caller has it already', type: 'null' },
      ...BODY_FAILURES,
    },
  },
  events: {
    summary: 'Hear when flags should be evaluated again (server-sent events)',
    response: {
      '200': {
        description: 'An event for each change',
        content: { 'text/event-stream': { schema: TEXT } },
      },
      ...FAILURES,
    },
  },
};
