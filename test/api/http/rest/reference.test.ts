import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SERVICE_ERROR_CODES, serviceErrorMapping } from '../../../../src/api/service-errors.ts';
import { rpcStatus } from '../../../../src/rpc/status.ts';
import { repositoryRoot } from '../../../support/repository-root.ts';
import { inRestWorld } from './rest-world.ts';

interface Schema {
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}
interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
}
interface Operation {
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const REFERENCE = join(repositoryRoot(), 'docs/api.md');
/** Parameters of all reads or of all changes: the reference tells of them once. */
const COMMON = new Set(['consistency', 'maxStalenessMs', 'reason', 'changeDescription', 'changeSet']);

const document = await inRestWorld(async ({ get }) => (await get('/openapi.json')).body as Document);

/** `npx vitest run --project unit test/api/http/rest/reference.test.ts -u` writes the parts anew. */
test('the reference names every operation and every failure that there is, and no others', async () => {
  let text = readFileSync(REFERENCE, 'utf8');
  for (const [name, part] of Object.entries({ operations: operations(), failures: failures() })) {
    const place = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- end of ${name} -->)`);
    expect(text).toMatch(place);
    text = text.replace(place, (_, start: string, end: string) => `${start}${part}\n${end}`);
  }
  await expect(text).toMatchFileSnapshot(REFERENCE);
});

test('paths and operations that its prose names are those of the document', () => {
  const prose = readFileSync(REFERENCE, 'utf8').replaceAll(/```[\s\S]*?```/g, '');
  const named = [...prose.matchAll(/`(GET|POST|PUT|PATCH|DELETE) (\/[\w/{}.-]*)/g)];
  expect(named.length).toBeGreaterThan(50);
  for (const [, method, path] of named) {
    expect(document.paths[path!]?.[method!.toLowerCase()], `${method} ${path}`).toBeDefined();
  }
});

function operations(): string {
  const byTag = new Map<string, string[]>();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0]!;
      byTag.set(tag, [...(byTag.get(tag) ?? []), row(`${method.toUpperCase()} ${path}`, operation)]);
    }
  }
  const sections = [...byTag].map(([tag, rows]) =>
    [`\n### ${tag}`, '| Operation | What | Parameters | Body |', '|---|---|---|---|', ...rows].join('\n'),
  );
  return `${sections.join('\n')}\n`;
}

function row(name: string, { summary, parameters = [], requestBody }: Operation): string {
  const own = parameters.filter((parameter) => parameter.in === 'query' && !COMMON.has(parameter.name));
  const query = own.map((parameter) => `${parameter.name}${parameter.required === true ? '\\*' : ''}`);
  return `| \`${name}\` | ${summary} | ${query.join(', ')} | ${bodyOf(requestBody)} |`;
}

/** The body's schema by its name, else its fields; of what is no JSON its media types. */
function bodyOf(body: Operation['requestBody']): string {
  if (body === undefined) return '';
  const schema = body.content['application/json']?.schema;
  if (schema?.$ref !== undefined) return `\`${schema.$ref.split('/').at(-1)}\``;
  const fields = Object.keys(schema?.properties ?? {}).filter((field) => !COMMON.has(field));
  if (fields.length === 0) return Object.keys(body.content).join(', ');
  const required = new Set(schema?.required ?? []);
  return fields.map((field) => `${field}${required.has(field) ? '\\*' : ''}`).join(', ');
}

function failures(): string {
  const rows = SERVICE_ERROR_CODES.map((code) => {
    const { http, status, title, retryable } = serviceErrorMapping(code);
    return `| \`${code}\` | ${http} | \`${grpcName(status)}\` | ${retryable} | ${title} |`;
  });
  return ['', '| Code | HTTP | gRPC | Retryable | Title |', '|---|---|---|---|---|', ...rows, ''].join('\n');
}

function grpcName(status: number): string {
  const [name] = Object.entries(rpcStatus).find(([, value]) => value === status)!;
  return name.replaceAll(/[A-Z]/g, '_$&').toUpperCase();
}
