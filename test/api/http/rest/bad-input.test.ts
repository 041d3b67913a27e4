import fc from 'fast-check';
import { expect, test } from 'vitest';
import { inRestWorld, type Method, type RestWorld } from './rest-world.ts';

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema?: { readonly $ref?: string } & Schema }>>;
  };
}
interface Schema {
  readonly properties?: Readonly<Record<string, unknown>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** Texts that mean something somewhere, and others that mean nothing. */
const text = fc.oneof(
  fc.constantFrom(
    'pay',
    'prod',
    'DEV',
    'test',
    'db.pool',
    'a.b',
    '1',
    '0',
    '-1',
    'true',
    '',
    '*',
    '"1"',
    '%',
    '../x',
    'a/b',
    'json',
  ),
  fc.constantFrom(
    'NUMBER',
    'SECRET',
    'string',
    '2026-01-01T00:00:00Z',
    '__proto__',
    'constructor',
    '{"type":"object"}',
    '\u0000',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const json = fc.oneof(
  text,
  fc.jsonValue({ maxDepth: 3 }),
  fc.integer({ min: -2, max: 50 }),
  fc.constant(null),
);

/** A request of the operation with any parameters and any body, most of them near what it takes. */
function requestOf(document: Document, path: string, operation: Operation) {
  const names = (place: string) =>
    (operation.parameters ?? []).filter((parameter) => parameter.in === place).map(({ name }) => name);
  const content = operation.requestBody?.content ?? {};
  const schema = Object.values(content)[0]?.schema ?? {};
  const named = schema.$ref?.split('/').at(-1);
  const { properties = {} } = named === undefined ? schema : document.components.schemas[named]!;
  const some = (keys: readonly string[], values: fc.Arbitrary<unknown>) =>
    fc.record(Object.fromEntries(keys.map((key) => [key, values])), { requiredKeys: [] });
  return fc.record({
    path: some(names('path'), text).map((values) =>
      path.replaceAll(
        /\{(\w+)\}/g,
        (_, name: string) => encodeURIComponent(wellFormed(values[name] ?? 'x')) || 'x',
      ),
    ),
    query: some(names('query'), text),
    body: fc.oneof(
      { weight: 4, arbitrary: some(Object.keys(properties), json) },
      { weight: 1, arbitrary: json },
    ),
    type: fc.constantFrom(...Object.keys(content), 'application/json'),
    etag: fc.constantFrom(undefined, '*', '"1"', '"x", W/"2"', 'bad'),
  });
}

test('whatever is asked for is answered, and never by a failure of the server', async () => {
  await inRestWorld(async (world) => {
    const document = world.app.swagger() as unknown as Document;
    await filled(world);
    for (const [path, item] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        if (isStream(operation)) continue;
        await fc.assert(
          fc.asyncProperty(
            requestOf(document, path, operation),
            async ({ path: url, query, body, type, etag }) => {
              const parameters = new URLSearchParams(
                Object.entries(query).map(([name, value]): [string, string] => [name, wellFormed(value)]),
              );
              const isRead = method === 'get';
              const answer = await world.call(
                method.toUpperCase() as Method,
                `${url}?${parameters.toString()}`,
                {
                  headers: {
                    ...(!isRead && { 'content-type': type }),
                    ...(etag !== undefined && { [isRead ? 'if-none-match' : 'if-match']: etag }),
                  },
                  ...(isRead ? {} : { payload: JSON.stringify(body) }),
                },
              );
              expect(answer.status, answer.text).toBeLessThan(500);
              if (answer.status >= 400 && answer.body?.errors === undefined)
                expect(answer.body).toMatchObject(
                  // OFREP has words of its own.
                  url.includes('/ofrep/') ? { errorDetails: expect.any(String) } : { saved: false },
                );
            },
          ),
          { numRuns: 25 },
        );
      }
    }
  });
}, 60_000);

/** What is right is answered without an end, and in no other way. */
function isStream({ responses }: Operation): boolean {
  return Object.keys(responses['200']?.content ?? {}).join() === 'text/event-stream';
}

/** Half a character cannot be sent. */
function wellFormed(value: unknown): string {
  return Buffer.from(String(value)).toString();
}

async function filled({ post, put }: RestWorld): Promise<void> {
  await put('/api/v1/environments/production', { parent: 'test' });
  for (const [key, value] of Object.entries({ 'db.pool': { max: 1 }, 'a.b': 'x-${db.pool}', n: 1 })) {
    await post('/api/v1/configurations', {
      application: 'pay',
      environment: 'test',
      key,
      value,
      changeSet: 'pay',
    });
  }
  await post('/configs', {
    application: 'pay',
    environment: 'DEV',
    key: 's',
    valueType: 'SECRET',
    value: 's',
  });
}
