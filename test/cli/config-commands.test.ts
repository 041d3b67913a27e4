import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { configurationId } from '../../src/config-format/ids.ts';
import { type Run, type RunInput, run } from './captured-io.ts';
import { HttpStub, problem } from './http-stub.ts';

/**
 * What the commands of the configuration service ask and print, against a stub that answers from a script: what is hard to
 * bring about otherwise, and `audit`. The others run against the service itself in config-service.test.ts and
 * config-watch.test.ts.
 */
let stub: HttpStub;
let directory: string;

beforeEach(async () => {
  stub = await HttpStub.start();
  directory = await mkdtemp(join(tmpdir(), 'conclave-cli-'));
});
afterEach(async () => {
  await stub.stop();
  await rm(directory, { recursive: true });
});

const SCOPE = ['--application', 'pay', '--environment', 'PROD'];
const ID = configurationId({
  tenant: 'default',
  environment: 'production',
  application: 'pay',
  key: 'db.pool.max',
});
const PATH = `/api/v1/configurations/${ID}`;

async function config(words: readonly string[], input: RunInput = {}): Promise<Run> {
  return run(['config', ...SCOPE, '--http-endpoint', stub.endpoint, ...words], input);
}
async function printed(words: readonly string[], input: RunInput = {}): Promise<string> {
  const { code, out, err } = await config(words, input);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out;
}

const SHOWN = {
  key: 'db.pool.max',
  value: '20',
  valueType: 'NUMBER',
  valueSubtype: 'INTEGER',
  version: 3,
  source: 'own',
  environment: 'PROD',
};

// ---- whom and what is asked ---------------------------------------------------------------------------------------

test('get prints the value alone, or what the server says', async () => {
  stub.on('GET /config/get', { body: SHOWN });
  expect(await printed(['get', 'db.pool.max'])).toBe('20\n');
  expect(stub.heard[0]!.query).toEqual({
    key: 'db.pool.max',
    application: 'pay',
    environment: 'production',
  });
  expect(stub.heard[0]!.headers).toMatchObject({ 'x-conclave-tenant': 'default' });
  expect(JSON.parse(await printed(['get', 'db.pool.max', '--json']))).toEqual(SHOWN);
  expect(JSON.parse(await printed(['get', 'db.pool.max', '-w', 'json', '--reveal']))).toEqual(SHOWN);
  expect(stub.heard[2]!.query).toMatchObject({ reveal: 'true' });
});

test('what is meant comes from options, else from variables', async () => {
  stub.on('GET /config/get', { body: SHOWN });
  const env = {
    CONCLAVE_HTTP_ENDPOINT: stub.endpoint,
    CONCLAVE_TENANT: 'acme',
    CONCLAVE_APPLICATION: 'shop',
    CONCLAVE_ENVIRONMENT: 'STAGING',
    CONCLAVE_USER: 'ann',
  };
  expect(await run(['config', 'get', 'a'], { env })).toMatchObject({ code: 0 });
  expect(stub.heard[0]!.query).toMatchObject({ application: 'shop', environment: 'staging' });
  expect(stub.heard[0]!.headers).toMatchObject({ 'x-conclave-tenant': 'acme', 'x-conclave-user': 'ann' });
  expect(stub.heard[0]!.headers.authorization).toBeUndefined();
  const words = ['config', 'get', 'a', '--tenant', 'other', '--application', 'pay', '--user', 'bob:secret'];
  expect(await run(words, { env })).toMatchObject({ code: 0 });
  expect(stub.heard[1]!.headers).toMatchObject({
    'x-conclave-tenant': 'other',
    'x-conclave-user': 'bob',
    authorization: `Basic ${Buffer.from('bob:secret').toString('base64')}`,
  });
  const missing = await run([
    'config',
    'get',
    'a',
    '--http-endpoint',
    stub.endpoint,
    '--environment',
    'TEST',
  ]);
  expect(missing).toMatchObject({ code: 2, err: 'error: --application is needed\n' });
});

test('a password is asked for only when the server wants one', async () => {
  stub.on('GET /config/get', ({ headers }) =>
    headers.authorization === undefined ? problem(401, 'unauthenticated', 'who are you?') : { body: SHOWN },
  );
  expect(await config(['get', 'a', '--user', 'ann'], { stdin: 'secret\n' })).toMatchObject({
    code: 0,
    out: '20\n',
  });
  expect(stub.heard.at(-1)!.headers.authorization).toBe(
    `Basic ${Buffer.from('ann:secret').toString('base64')}`,
  );
  expect(await config(['get', 'a'])).toMatchObject({ code: 1, err: 'error: who are you?\n' });
});

test('the next member is asked when one is not there', async () => {
  stub.on('GET /config/get', { body: SHOWN });
  const endpoints = `http://127.0.0.1:1,${stub.endpoint}`;
  expect(await run(['config', 'get', 'a', ...SCOPE, '--http-endpoint', endpoints])).toMatchObject({
    code: 0,
  });
  const away = await run(['config', 'get', 'a', ...SCOPE, '--http-endpoint', 'http://127.0.0.1:1']);
  expect(away.code).toBe(1);
  expect(away.err).toContain('--http-endpoint says where it is');
  const wrong = await run(['config', 'get', 'a', ...SCOPE, '--http-endpoint', 'ftp://x']);
  expect(wrong).toMatchObject({ code: 2 });
});

test('a change goes to the next member under the same idempotency key', async () => {
  const second = await HttpStub.start();
  try {
    stub.on(`DELETE ${PATH}`, problem(503, 'unavailable', 'no leader'));
    second.on(`DELETE ${PATH}`, { status: 204 });
    const endpoints = `${stub.endpoint},${second.endpoint}`;
    const words = [
      'config',
      'delete',
      'db.pool.max',
      ...SCOPE,
      '--http-endpoint',
      endpoints,
      '--reason',
      'gone',
    ];
    expect(await run(words)).toMatchObject({ code: 0, out: 'db.pool.max is deleted\n' });
    const [first] = stub.heard;
    expect(first!.query).toEqual({ reason: 'gone' });
    expect(first!.headers['idempotency-key']).toMatch(/^[0-9a-f-]{36}$/);
    expect(second.heard[0]!.headers['idempotency-key']).toBe(first!.headers['idempotency-key']);
  } finally {
    await second.stop();
  }
});

test('a refusal is told in the server’s words, field by field, by exit code', async () => {
  const errors = [
    { field: 'value', message: 'must be an integer' },
    { field: 'tags/0', message: 'must not be empty' },
  ];
  stub.on('GET /config/get', problem(404, 'not-found', 'there is no application pay'));
  stub.on('POST /config/set', problem(400, 'invalid', 'value: must be an integer', { errors }));
  expect(await config(['get', 'a'])).toMatchObject({ code: 1, err: 'error: there is no application pay\n' });
  expect(await config(['set', 'a', 'x'])).toMatchObject({
    code: 2,
    err: 'error: value: must be an integer\n  tags/0: must not be empty\n',
  });
  stub.on('POST /config/set', problem(504, 'ambiguous', 'no answer', { retryable: 'ambiguous' }));
  expect((await config(['set', 'a', 'x'])).err).toContain('It is not known whether the change was made');
  stub.on('GET /config/get', { status: 500, type: 'text/html', body: '<h1>no' });
  expect(await config(['get', 'a'])).toMatchObject({ code: 1, err: 'error: the server answered 500\n' });
  stub.on('GET /config/get', { body: 'no JSON' });
  expect(await config(['get', 'a'])).toMatchObject({ code: 1, err: 'error: the answer is no JSON\n' });
});

// ---- changes ------------------------------------------------------------------------------------------------------

const WRITTEN = { key: 'db.pool.max', application: 'pay', environment: 'PROD', version: 4 };

test('set leaves the type of what is there, and guesses that of what is new', async () => {
  stub.on('POST /config/set', { body: WRITTEN });
  stub.on('GET /config/get', { body: SHOWN });
  expect(
    await printed(['set', 'db.pool.max', '30', '--reason', 'load', '--change-set', 'r1', '--tag', 'a', 'b']),
  ).toBe('db.pool.max of pay in production is at version 4\n');
  const bodies = (): unknown[] =>
    stub.heard.filter(({ method }) => method === 'POST').map(({ body }) => body);
  const name = { key: 'db.pool.max', application: 'pay', environment: 'production' };
  expect(bodies()).toEqual([{ ...name, value: '30', tags: ['a', 'b'], reason: 'load', changeSet: 'r1' }]);
  stub.on('GET /config/get', { body: { ...SHOWN, source: 'inherited', valueType: 'STRING' } });
  await printed(['set', 'db.pool.max', '30']);
  stub.on('GET /config/get', problem(404, 'not-found', 'none'));
  for (const value of ['30', '-1.5e3', 'true', '{"a":1}', '[', '007', 'text']) {
    await printed(['set', 'db.pool.max', '--', value]);
  }
  expect(bodies().slice(1)).toMatchObject([
    { value: '30', valueType: 'STRING' },
    { value: '30', valueType: 'NUMBER' },
    { value: '-1.5e3', valueType: 'NUMBER' },
    { value: 'true', valueType: 'BOOLEAN' },
    { value: '{"a":1}', valueType: 'JSON' },
    { value: '[', valueType: 'STRING' },
    { value: '007', valueType: 'STRING' },
    { value: 'text', valueType: 'STRING' },
  ]);
});

test('set takes a type, a schema, a condition, and a value from standard input', async () => {
  const schema = join(directory, 'schema.json');
  await writeFile(schema, '{"type":"integer"}');
  stub.on('POST /config/set', {
    body: { ...WRITTEN, warnings: [{ field: 'value', message: 'looks like a password' }] },
  });
  const words = ['set', 'k', '--type', 'Integer', '--schema-file', schema, '--ttl', '2m', '--if-match', '17'];
  const { code, out, err } = await config([...words, '--description', 'text'], { stdin: '12\n' });
  expect({ code, out, err }).toEqual({
    code: 0,
    out: 'db.pool.max of pay in production is at version 4\n',
    err: 'warning: value: looks like a password\n',
  });
  expect(stub.heard).toHaveLength(1);
  expect(stub.heard[0]!.headers['if-match']).toBe('"17"');
  expect(stub.heard[0]!.body).toMatchObject({
    value: '12',
    valueType: 'NUMBER',
    valueSubtype: 'INTEGER',
    schema: '{"type":"integer"}',
    ttlSeconds: 120,
    description: 'text',
  });
  await config(['set', 'k', '--secret'], { stdin: 'hunter2' });
  expect(stub.heard[1]!.body).toMatchObject({ value: 'hunter2', valueType: 'SECRET' });
  expect(await config(['set', 'k', 'v', '--secret', '--type', 'json'])).toMatchObject({ code: 2 });
  expect(await config(['set', 'k', 'v', '--type', 'int'])).toMatchObject({ code: 2 });
});

test('rollback and undelete make new versions; a release is taken back whole', async () => {
  stub.on(`POST ${PATH}/rollback`, { body: { ...WRITTEN, environment: 'production' } });
  stub.on(`POST ${PATH}/undelete`, { body: { ...WRITTEN, environment: 'production' } });
  stub.on('POST /api/v1/change-sets/r%201/rollback', {
    body: { items: [{ type: 'updated', after: WRITTEN }], features: [{ ...WRITTEN, kind: 'flag' }] },
  });
  expect(await printed(['rollback', 'db.pool.max', '2', '--reason', 'worse'])).toBe(
    'db.pool.max of pay in production is as it was in version 2, at version 4\n',
  );
  expect(stub.heard[0]!.body).toEqual({ version: 2, reason: 'worse' });
  expect(await printed(['undelete', 'db.pool.max'])).toContain('is back, at version 4');
  expect(await printed(['rollback', '--of-change-set', 'r 1', '--force'])).toBe(
    'db.pool.max of pay in production is updated, at version 4\n' +
      'flag db.pool.max of pay in production is as it was before, at version 4\n',
  );
  expect(stub.heard[2]!.body).toEqual({ force: true });
  stub.on('POST /api/v1/change-sets/old/rollback', { body: { items: [], features: [] } });
  expect(await printed(['rollback', '--of-change-set', 'old'])).toBe(
    'what old changed is as it was before\n',
  );
  expect(await config(['rollback', 'db.pool.max'])).toMatchObject({ code: 2 });
  expect(await config(['rollback', 'db.pool.max', 'x'])).toMatchObject({ code: 2 });
});

// ---- lists --------------------------------------------------------------------------------------------------------

test('list asks page by page, and prints a table', async () => {
  const item = (n: number) => ({
    key: `k${n}`,
    application: 'pay',
    environment: 'production',
    type: 'string',
    value: n === 0 ? `long ${'x'.repeat(100)}\nmore` : n,
    version: n,
    updatedAt: '2026-11-22T09:20:01.123Z',
  });
  const all = Array.from({ length: 2_500 }, (_, n) => item(n));
  stub.on('GET /api/v1/configurations', ({ query }) => {
    const [page, size] = [Number(query['page']), Number(query['size'])];
    return { body: { items: all.slice(page * size, (page + 1) * size), page, size, total: all.length } };
  });
  const lines = (await printed(['list', '--prefix', 'k', '--tag', 't', '--search', 'a b']))
    .trimEnd()
    .split('\n');
  expect(lines).toHaveLength(2_501);
  expect(lines[0]).toMatch(/^APPLICATION +ENVIRONMENT +KEY +TYPE +VALUE +VERSION +UPDATED$/);
  expect(lines[1]).toMatch(/^pay +production +k0 +string +long x{52}\.\.\. +0 +2026-11-22 09:20:01$/);
  expect(stub.heard[0]!.query).toEqual({
    application: 'pay',
    environment: 'production',
    keyPrefix: 'k',
    tag: 't',
    search: 'a b',
    page: '0',
    size: '1000',
  });
  expect(stub.heard).toHaveLength(3);
  const some = (await printed(['list', '--limit', '2'])).trimEnd().split('\n');
  expect(some.slice(3)).toEqual(['and 2498 more']);
  expect(JSON.parse(await printed(['list', '--limit', '1', '--json']))).toEqual({
    items: [item(0)],
    total: 2_500,
  });
});

test('list needs neither application nor environment', async () => {
  stub.on('GET /api/v1/configurations', { body: { items: [], total: 0 } });
  expect(await run(['config', 'list', '--http-endpoint', stub.endpoint])).toMatchObject({ code: 0 });
  expect(stub.heard[0]!.query).toEqual({ page: '0', size: '1000' });
});

test('history prints versions, page by page', async () => {
  const version = (n: number) => ({
    version: n,
    value: { n },
    createdBy: 'ann',
    createdAt: '2026-11-22T09:20:01.123Z',
    reason: n === 2 ? 'why' : '',
    deleted: n === 3,
  });
  stub.on(`GET ${PATH}/versions`, ({ query }) =>
    query['before'] === undefined
      ? { body: { items: [version(3), version(2)], next: 2 } }
      : { body: { items: [version(1)], next: null } },
  );
  expect(await printed(['history', 'db.pool.max'])).toBe(
    [
      'VERSION  AT                   BY   VALUE      REASON',
      '3        2026-11-22 09:20:01  ann  (deleted)',
      '2        2026-11-22 09:20:01  ann  {"n":2}    why',
      '1        2026-11-22 09:20:01  ann  {"n":1}',
      '',
    ].join('\n'),
  );
  expect(stub.heard.map(({ query }) => query)).toEqual([{ size: '100' }, { before: '2', size: '98' }]);
});

// ---- trials and comparisons ---------------------------------------------------------------------------------------

test('validate prints findings and impact, and fails when the change would be refused', async () => {
  const impact = { inheritedBy: ['canary'], referencedBy: [], instances: ['pod-1', 'pod-2'] };
  stub.on('POST /config/validate', { body: { valid: true, errors: [], warnings: [], impact } });
  expect(await printed(['validate', 'k', '1', '--type', 'number'])).toBe(
    'valid\ninherited by: canary\nrun by: pod-1, pod-2\n',
  );
  const errors = [{ field: 'value', message: 'must be >= 5' }];
  stub.on('POST /config/validate', { body: { valid: false, errors, warnings: [], impact } });
  expect(await config(['validate', 'k', '1', '--type', 'number'])).toMatchObject({
    code: 1,
    out: 'not valid\nerror: value: must be >= 5\ninherited by: canary\nrun by: pod-1, pod-2\n',
    err: 'error: k would be refused\n',
  });
});

test('diff sets two versions, or two environments, beside each other', async () => {
  const side = { environment: 'production', key: 'db.pool.max' };
  const changes = [
    { type: 'changed', pointer: '/max', before: 10, after: 20 },
    { type: 'added', pointer: '/min', after: 1 },
    { type: 'removed', pointer: '/old', before: 'x' },
    {
      type: 'changed',
      pointer: '/text',
      before: 'a\nb\n',
      after: 'a\nc\n',
      lines: [
        { type: 'same', text: 'a\n' },
        { type: 'removed', text: 'b\n' },
        { type: 'added', text: 'c\n' },
      ],
    },
  ];
  const patch = [{ op: 'replace', path: '/max', value: 20 }];
  stub.on('GET /api/v1/compare', {
    body: {
      left: { ...side, version: 2 },
      right: { ...side, version: 5 },
      equal: false,
      valueEqual: false,
      diff: { changes, patch },
      fields: [{ name: 'tags', before: ['a'], after: [] }],
    },
  });
  expect(await printed(['diff', 'db.pool.max', '--from', '2'])).toBe(
    [
      '- db.pool.max in production, version 2',
      '+ db.pool.max in production, version 5',
      '~ /max: 10 -> 20',
      '+ /min: 1',
      '- /old: x',
      '~ /text:',
      '    a',
      '  - b',
      '  + c',
      '~ tags: ["a"] -> []',
      '',
    ].join('\n'),
  );
  expect(stub.heard[0]!.query).toEqual({ left: ID, leftVersion: '2' });
  expect(JSON.parse(await printed(['diff', 'db.pool.max', '--from', '2', '--patch']))).toEqual(patch);
  expect(await config(['diff', 'db.pool.max', '--with', 'TEST', '--exit-code'])).toMatchObject({ code: 1 });
  expect(stub.heard[2]!.query['right']).toBe(
    configurationId({ tenant: 'default', environment: 'test', application: 'pay', key: 'db.pool.max' }),
  );
  expect(await config(['diff', 'db.pool.max'])).toMatchObject({ code: 2 });
  const items = [
    {
      key: 'a',
      difference: 'changed',
      diff: { changes: [{ type: 'changed', pointer: '', before: 1, after: 2 }] },
    },
    { key: 'b', difference: 'added', diff: null },
  ];
  stub.on('GET /api/v1/compare/environments', { body: { items, more: false } });
  expect(await printed(['diff', '--with', 'STAGING'])).toBe(
    '~ a\n    ~ 1 -> 2\n+ b\n    (a secret: what differs is not shown)\n',
  );
  expect(stub.heard.at(-1)!.query).toEqual({ application: 'pay', left: 'production', right: 'staging' });
  stub.on('GET /api/v1/compare/environments', { body: { items: [], more: false } });
  expect(await printed(['diff', '--with', 'STAGING', '--exit-code'])).toBe('the same\n');
});

test('merge saves what it can, and shows the conflicts of what it cannot', async () => {
  stub.on(`POST ${PATH}/merge`, { body: { merged: { a: 1 }, conflicts: [], saved: true, change: {} } });
  expect(await printed(['merge', 'db.pool.max', '--base', '2', '--value', '{"a":1}'])).toBe(
    'saved: {"a":1}\n',
  );
  expect(stub.heard[0]!.body).toEqual({ base: 2, theirs: { value: { a: 1 } }, strategy: 'manual' });
  await printed(['merge', 'db.pool.max', '--base', '2', '--from', 'DEV', '--strategy', 'theirs']);
  expect(stub.heard[1]!.body).toMatchObject({
    theirs: { ref: { application: 'pay', environment: 'development', key: 'db.pool.max' } },
    strategy: 'theirs',
  });
  const conflicts = [
    { pointer: '/a', base: 1, ours: 2, theirs: 3 },
    { pointer: '', ours: 'x' },
  ];
  stub.on(`POST ${PATH}/merge`, {
    status: 409,
    body: { merged: { a: 2 }, conflicts, saved: false, change: null },
  });
  expect(await config(['merge', 'db.pool.max', '--base', '2', '--their-version', '3'])).toMatchObject({
    code: 1,
    out:
      'conflict at /a: it was 1, ours is 2, theirs 3\n' +
      'conflict at the value: it was nothing, ours is x, theirs nothing\nnot saved: {"a":2}\n',
    err: 'error: 2 conflicts; nothing was saved\n',
  });
  expect(await config(['merge', 'db.pool.max', '--base', '2'])).toMatchObject({ code: 2 });
  expect(await config(['merge', 'db.pool.max', '--value', '1'])).toMatchObject({ code: 2 });
});

// ---- many at once -------------------------------------------------------------------------------------------------

const IMPORTED = { created: 2, updated: 1, deleted: 0, unchanged: 7, items: [], more: false, warnings: [] };

test('import sends the file as it is, and says what became of it', async () => {
  const file = join(directory, 'pay.yaml');
  await writeFile(file, 'a: 1\n');
  stub.on('POST /api/v1/import', { body: IMPORTED });
  expect(
    await printed(['import', file, '--shape', 'nested', '--secret-key', 'a', 'b', '--reason', 'first']),
  ).toBe('2 created, 1 updated, 0 deleted, 7 as they were\n');
  const [heard] = stub.heard;
  expect(heard!.query).toEqual({
    application: 'pay',
    environment: 'production',
    format: 'yaml',
    shape: 'nested',
    secretKeys: 'a,b',
    reason: 'first',
  });
  expect(heard!.headers['content-type']).toBe('application/yaml; charset=utf-8');
  expect(heard!.body).toBe('a: 1\n');
  const items = [
    { key: 'a', type: 'updated', before: { value: 1 }, after: { value: 2 } },
    { key: 'b', type: 'deleted', before: { value: 'x' }, after: null },
  ];
  stub.on('POST /api/v1/import', { body: { ...IMPORTED, items } });
  expect(await printed(['import', '-', '--format', 'dotenv', '--dry-run'], { stdin: 'A=1\n' })).toBe(
    '         KEY  BEFORE  AFTER\nupdated  a    1       2\ndeleted  b    x\n' +
      'Nothing was changed; it would be: 2 created, 1 updated, 0 deleted, 7 as they were\n',
  );
  expect(stub.heard[1]!.query).toMatchObject({ format: 'dotenv', dryRun: 'true' });
  expect(await config(['import', '-'], { stdin: 'A=1' })).toMatchObject({ code: 2 });
  expect((await config(['import', join(directory, 'none.json')])).err).toContain('does not exist');
});

test('an import that takes long is followed line by line', async () => {
  const body = `{"progress":{"done":40,"total":80}}\n{"progress":{"done":80,"total":80}}\n${JSON.stringify(IMPORTED)}\n`;
  stub.on('POST /api/v1/import', { type: 'application/x-ndjson', body });
  expect(await printed(['import', '-', '--format', 'json'], { stdin: '{}' })).toContain('2 created');
  stub.on('POST /api/v1/import', {
    type: 'application/x-ndjson',
    body: '{"progress":{"done":40,"total":80}}\n',
  });
  const cut = await config(['import', '-', '--format', 'json'], { stdin: '{}' });
  expect(cut).toMatchObject({
    code: 1,
    err: 'error: the answer ended early; repeat the import to go on with it\n',
  });
});

test('an import that fails half-way says why', async () => {
  const { body: failure } = problem(503, 'unavailable', 'no leader');
  const body = `{"progress":{"done":40,"total":80}}\n${JSON.stringify({ problem: failure })}\n`;
  stub.on('POST /api/v1/import', { type: 'application/x-ndjson', body });
  expect(await config(['import', '-', '--format', 'json'], { stdin: '{}' })).toMatchObject({
    code: 1,
    err: 'error: no leader\n',
  });
});

test('export prints the text as it comes', async () => {
  stub.on('GET /api/v1/export', { type: 'text/plain', body: 'DB_POOL_MAX=20\n' });
  expect(await printed(['export', '--format', 'dotenv', '--inherited'])).toBe('DB_POOL_MAX=20\n');
  expect(stub.heard[0]!.query).toMatchObject({ format: 'dotenv', shape: 'flat', inherited: 'true' });
});

test('promote takes keys from one environment to another', async () => {
  const items = [
    { type: 'created', before: null, after: { key: 'a', value: 1 } },
    { type: 'unchanged', before: { value: 2 }, after: { key: 'b', value: 2 } },
    { type: 'deleted', before: { value: 3 }, after: { key: 'c', value: 3 } },
  ];
  stub.on('POST /api/v1/promotions', { body: { items, warnings: [] } });
  expect(
    await printed(['promote', 'a', 'b', 'c', '--from', 'STAGING', '--to', 'PROD', '--delete-missing']),
  ).toBe('         KEY  BEFORE  AFTER\ncreated  a            1\ndeleted  c    3\n');
  expect(stub.heard[0]!.body).toEqual({
    application: 'pay',
    from: 'staging',
    to: 'production',
    keys: ['a', 'b', 'c'],
    deleteMissing: true,
  });
  stub.on('POST /api/v1/promotions', { body: { items: [], warnings: [] } });
  expect(await printed(['promote', '--from', 'STAGING', '--to', 'PROD'])).toBe('Nothing is different\n');
  expect(stub.heard[1]!.body).not.toHaveProperty('keys');
  expect(await config(['promote', '--to', 'PROD'])).toMatchObject({ code: 2 });
});

// ---- environments and the audit trail -----------------------------------------------------------------------------

const PRODUCTION = {
  id: 'production',
  description: 'live',
  parent: 'staging',
  inherits: ['staging', 'test'],
  rules: { locked: true, promoteOnlyFrom: 'staging', reasonRequired: true },
  version: 3,
};

async function env(words: readonly string[]): Promise<string> {
  const { code, out, err } = await run(['env', ...words, '--http-endpoint', stub.endpoint]);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out;
}

test('environments are listed, shown, made, changed, locked and deleted', async () => {
  const path = '/api/v1/environments/production';
  stub.on('GET /api/v1/environments', { body: { items: [PRODUCTION] } });
  stub.on(`GET ${path}`, { body: PRODUCTION });
  stub.on(`PUT ${path}`, { body: PRODUCTION });
  stub.on('POST /api/v1/environments', { status: 201, body: PRODUCTION });
  stub.on('DELETE /api/v1/environments/canary', { status: 204 });
  expect(await env(['list'])).toBe(
    'NAME        INHERITS        LOCKED  PROMOTE ONLY FROM  REASON    DESCRIPTION\n' +
      'production  staging < test  locked  staging            required  live\n',
  );
  expect(await env(['get', 'PROD'])).toContain('Inherits: staging, then test\nLocked: yes\n');
  await env(['create', 'canary', '--parent', 'PROD', '--require-reason', '--reason', 'try']);
  await env(['update', 'PROD', '--no-parent', '--no-promote-only-from']);
  await env(['update', 'PROD', '--promote-only-from', 'STAGING', '--description', 'x']);
  await env(['lock', 'PROD', '--reason', 'freeze']);
  await env(['unlock', 'PROD']);
  expect(await env(['delete', 'canary'])).toBe('canary is deleted\n');
  expect(
    stub.heard.filter(({ method }) => method === 'POST' || method === 'PUT').map(({ body }) => body),
  ).toEqual([
    { id: 'canary', parent: 'production', rules: { reasonRequired: true }, reason: 'try' },
    { parent: null, rules: { promoteOnlyFrom: null } },
    { description: 'x', rules: { promoteOnlyFrom: 'staging' } },
    { rules: { locked: true }, reason: 'freeze' },
    { rules: { locked: false } },
  ]);
});

test('the audit trail is listed page by page, and exported as it comes', async () => {
  const entry = (revision: number) => ({
    id: `c${revision}`,
    revision,
    at: '2026-11-22T09:20:01.123Z',
    actor: { name: 'ann' },
    operation: 'update',
    reason: 'why',
    items: [
      {
        kind: 'configuration',
        type: 'updated',
        environment: 'production',
        application: 'pay',
        key: 'k',
        oldValue: null,
        newValue: { value: 2 },
      },
      { kind: 'environment', type: 'updated', environment: 'test', application: null, key: null },
    ],
  });
  stub.on('GET /api/v1/audit', ({ query }) =>
    query['cursor'] === undefined
      ? { body: { items: [entry(9)], next: 9 } }
      : { body: { items: [entry(8)], next: null } },
  );
  stub.on('GET /api/v1/audit/export', { type: 'text/csv', body: 'revision\n9\n' });
  const words = ['--actor', 'ann', '--from', '2026-11-01', '--http-endpoint', stub.endpoint];
  const { code, out } = await run(['audit', 'list', 'k', ...words]);
  expect(code).toBe(0);
  expect(out.split('\n').slice(0, 3)).toEqual([
    'AT                   WHO  OPERATION  WHAT              CHANGE     REASON',
    '2026-11-22 09:20:01  ann  update     production/pay/k  none -> 2  why',
    '2026-11-22 09:20:01  ann  update     test              updated    why',
  ]);
  expect(stub.heard.map(({ query }) => query)).toEqual([
    { actor: 'ann', from: '2026-11-01', key: 'k', size: '100' },
    { actor: 'ann', from: '2026-11-01', key: 'k', cursor: '9', size: '99' },
  ]);
  const exported = await run(['audit', 'export', '--format', 'csv', ...words]);
  expect(exported).toMatchObject({ code: 0, out: 'revision\n9\n' });
  expect(stub.heard.at(-1)!.query).toMatchObject({ format: 'csv' });
  expect(await run(['audit', 'export', '--format', 'xml', ...words])).toMatchObject({ code: 2 });
});
