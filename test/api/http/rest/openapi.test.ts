import { describe, expect, test } from 'vitest';
import { inRestWorld } from './rest-world.ts';
import {
  PROMISED_ENVIRONMENTS,
  PROMISED_OPERATIONS,
  PROMISED_PAGE,
  PROMISED_SCHEMAS,
  PROMISED_VALUE_TYPES,
} from './seed-002.ts';

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly 'x-extensible-enum'?: readonly string[];
}
type Content = Readonly<Record<string, { readonly schema: Schema }>>;
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required: boolean;
    readonly schema: Schema;
  }[];
  readonly requestBody?: { readonly required: boolean; readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>;
}
interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const { document, html } = await inRestWorld(async ({ get }) => ({
  document: (await get('/openapi.json')).body as Document,
  html: await get('/docs'),
}));
const { schemas } = document.components;
const nameOf = ({ $ref }: Schema): string | undefined => $ref?.split('/').at(-1);

describe("the seed's document", () => {
  test.each(Object.entries(PROMISED_OPERATIONS))('%s', (what, promised) => {
    const [method, path, operationId] = what.split(' ') as [string, string, string];
    const operation = document.paths[path]?.[method];
    expect(operation).toMatchObject({
      operationId,
      tags: [path.startsWith('/feature-flags') ? 'FeatureFlags' : 'Configurations'],
      summary: expect.stringMatching(/./),
    });
    const { parameters = [], requestBody, responses } = operation!;
    for (const [name, place, required, type] of promised.parameters) {
      const found = parameters.find((parameter) => parameter.name === name);
      expect(found, name).toMatchObject({ in: place, required, schema: { type } });
    }
    // What was added beside is never required.
    const names = promised.parameters.map(([name]) => name);
    expect(parameters.filter(({ name, required }) => required && !names.includes(name))).toEqual([]);
    for (const [name, value] of Object.entries(promised.defaults ?? {})) {
      expect(parameters.find((parameter) => parameter.name === name)!.schema.default).toBe(value);
    }
    const environment = parameters.find(({ name }) => name === 'environment');
    if (environment !== undefined)
      expect(environment.schema['x-extensible-enum']).toEqual(PROMISED_ENVIRONMENTS);
    if (promised.body === undefined) expect(requestBody).toBeUndefined();
    else {
      expect(requestBody!.required).toBe(true);
      expect(nameOf(requestBody!.content['application/json']!.schema)).toBe(promised.body);
    }
    for (const [status, answer] of Object.entries(promised.answers)) {
      const schema = responses[status]?.content?.['application/json']?.schema;
      expect(responses[status], status).toBeDefined();
      if (answer === 'page') {
        expect(Object.keys(schema!.properties!)).toEqual(PROMISED_PAGE);
        expect(nameOf(schema!.properties!['content']!.items!)).toBe(
          path === '/feature-flags' ? 'FeatureFlag' : 'ConfigurationSummary',
        );
      } else if (Array.isArray(answer)) {
        expect([schema!.type, nameOf(schema!.items!)]).toEqual(['array', answer[0]]);
      } else if (answer !== null) expect(nameOf(schema!)).toBe(answer);
    }
    const successes = Object.keys(responses).filter((status) => status.startsWith('2'));
    expect(Object.keys(promised.answers)).toEqual(expect.arrayContaining(successes));
  });

  test.each(Object.entries(PROMISED_SCHEMAS))('%s', (name, promised) => {
    const { properties = {}, required = [] } = schemas[name]!;
    const promisedRequired: string[] = [];
    for (const field of promised.split(' ')) {
      const [, fieldName, mark, type] = /^(\w+)(!?):(.+)$/.exec(field) as unknown as [
        string,
        string,
        string,
        string,
      ];
      if (mark === '!') promisedRequired.push(fieldName);
      expect(typeOf(properties[fieldName]), `${name}.${fieldName}`).toBe(type);
    }
    expect(required.toSorted()).toEqual(promisedRequired.toSorted());
    if (promised.includes('environment')) {
      expect(properties['environment']!['x-extensible-enum']).toEqual(PROMISED_ENVIRONMENTS);
    }
    if (promised.includes('valueType')) expect(properties['valueType']!.enum).toEqual(PROMISED_VALUE_TYPES);
  });
});

function typeOf(schema: Schema | undefined): string {
  if (schema === undefined) return 'missing';
  if (schema.type === 'array') return `${schema.items!.type ?? nameOf(schema.items!)}[]`;
  return schema.format ?? schema.type ?? 'any';
}

describe('the whole document', () => {
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );

  test('is OpenAPI 3.0.3 of the right title', () => {
    expect(document).toMatchObject({ openapi: '3.0.3', info: { title: 'Configuration Service API' } });
    expect(operations.length).toBeGreaterThan(50);
  });

  test('names every operation once, with all that it needs', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations) {
      expect(operation.summary, path).toMatch(/\S/);
      expect(operation.tags, path).toHaveLength(1);
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
      const told = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(told.map(({ name }) => name).toSorted(), path).toEqual(inPath.toSorted());
      for (const status of ['400', '401']) {
        expect(operation.responses[status], `${path} ${status}`).toBeDefined();
      }
      for (const status of operation.requestBody === undefined ? [] : ['413', '415']) {
        expect(operation.responses[status], `${path} ${status}`).toBeDefined();
      }
      const isConditional = (operation.parameters ?? []).some(({ name }) => name === 'If-Match');
      if (isConditional) expect(operation.responses['412'], path).toBeDefined();
    }
  });

  test('refers to nothing that is not there', () => {
    const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref!);
    expect(refs.length).toBeGreaterThan(100);
    for (const ref of new Set(refs)) {
      expect(ref).toMatch(/^#\/components\/schemas\//);
      expect(Object.keys(schemas)).toContain(nameOf({ $ref: ref }));
    }
  });

  test('is shown as a page that loads nothing and runs nothing', () => {
    expect(html.headers['content-type']).toMatch(/^text\/html/);
    expect(html.headers['content-security-policy']).toBe("default-src 'none'; style-src 'unsafe-inline'");
    expect(html.text).not.toMatch(/<script|<img|<link|src=|https?:/);
    for (const { path, operation } of operations) {
      expect(html.text).toContain(`<code>${path}</code>`);
      expect(html.text).toContain(`id="${operation.operationId}"`);
    }
    const anchors = [...html.text.matchAll(/href="#([^"]+)"/g)].map(([, anchor]) => anchor!);
    for (const anchor of new Set(anchors)) expect(html.text).toContain(`id="${anchor}"`);
  });
});
