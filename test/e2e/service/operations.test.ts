import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { REST_LIMITS_DEFAULT } from '../../../src/api/http/rest/limits.ts';
import { KvClient } from '../../../src/client/kv-client.ts';
import type { Answered } from '../../api/http/rest/rest-world.ts';
import { Cluster } from '../../support/cluster.ts';
import { repositoryRoot } from '../../support/repository-root.ts';
import { APPLICATIONS } from './cases/applications.ts';
import { AUDIT } from './cases/audit.ts';
import { CONFIG } from './cases/config.ts';
import { CONFIGS } from './cases/configs.ts';
import { DELIVERY } from './cases/delivery.ts';
import { ENVIRONMENTS } from './cases/environments.ts';
import { EVENTS } from './cases/events.ts';
import { EXPERIMENTS } from './cases/experiments.ts';
import { FEATURES } from './cases/features.ts';
import { FLAG_ACTIONS } from './cases/flag-actions.ts';
import { FLAGS_001 } from './cases/flags-001.ts';
import { FLAGS_002 } from './cases/flags-002.ts';
import { MANY } from './cases/many.ts';
import { OFREP } from './cases/ofrep.ts';
import { RESOURCES } from './cases/resources.ts';
import { SERVICES } from './cases/services.ts';
import { TEXTS } from './cases/texts.ts';
import { type DocumentedOperation, Face } from './face.ts';
import { KeyFile } from './key-file.ts';
import {
  type Case,
  type CaseTable,
  LOCKED,
  type OperationCases,
  type PlainPut,
  REASONED,
} from './operation-cases.ts';

/** Every operation of the OpenAPI document with its cases. Tables are run in this order. */
const TABLE: CaseTable = {
  ...CONFIGS,
  ...SERVICES,
  ...CONFIG,
  ...ENVIRONMENTS,
  ...APPLICATIONS,
  ...RESOURCES,
  ...MANY,
  ...TEXTS,
  ...AUDIT,
  ...DELIVERY,
  ...EVENTS,
  ...FLAGS_002,
  ...FLAGS_001,
  ...FEATURES,
  ...FLAG_ACTIONS,
  ...EXPERIMENTS,
  ...OFREP,
};

/**
 * Operations that have end-to-end tests of their own, for what cannot be said as one request and one answer: the file,
 * below the root of the repository.
 */
const ELSEWHERE: Readonly<Record<string, string>> = {
  watchServiceConfiguration: 'test/e2e/streams.test.ts',
  ofrepEvents: 'test/e2e/flags.test.ts',
  ofrepScopedEvents: 'test/e2e/flags.test.ts',
};

let keys: KeyFile;
let cluster: Cluster;
let face: Face;
let store: KvClient;

beforeAll(async () => {
  keys = new KeyFile();
  cluster = await Cluster.start(3, [keys.flag]);
  await Promise.all(
    cluster.members.map(({ process }) => process!.logged('the configuration service is served')),
  );
  face = await Face.of(cluster.members[1]!.httpUrl);
  store = new KvClient({ endpoints: [cluster.members[2]!.clientUrl] });
  for (const [id, rules] of [
    [LOCKED, { locked: true }],
    [REASONED, { reasonRequired: true }],
  ] as const) {
    expect((await face.post('/api/v1/environments', { id, rules })).status).toBe(201);
  }
});
afterAll(async () => {
  store?.close();
  await cluster?.destroy();
  keys[Symbol.dispose]();
});

describe('operations of the document', () => {
  test('all have cases: add what is missing to test/e2e/service/cases, or name its test in ELSEWHERE', () => {
    const documented = face.operations.map(({ id }) => id);
    const tested = [...Object.keys(TABLE), ...Object.keys(ELSEWHERE)];
    expect({ untested: documented.filter((id) => !tested.includes(id)) }).toEqual({ untested: [] });
    expect({ gone: tested.filter((id) => !documented.includes(id)) }).toEqual({ gone: [] });
    const missing = Object.values(ELSEWHERE).filter((file) => !existsSync(join(repositoryRoot(), file)));
    expect({ missing }).toEqual({ missing: [] });
  });

  test('those that say they honour If-Match, and no others, refuse a stale entity tag', () => {
    const said = face.operations.filter(({ headers }) => headers.includes('If-Match')).map(({ id }) => id);
    const tested = Object.entries(TABLE).filter(([, { bad }]) =>
      bad.some(({ status, headers }) => status === 412 && headers?.['if-match'] !== undefined),
    );
    expect(said.toSorted()).toEqual(tested.map(([id]) => id).toSorted());
  });

  describe.each(Object.entries(TABLE))('%s', (id, { given = [], good, bad }: OperationCases) => {
    test('answers what is right, in every field', async () => {
      for (const item of given) await prepare(item);
      for (const item of good) await hold(id, item);
    });

    test('refuses what is wrong, and does nothing', async () => {
      const before = await lastChange();
      for (const item of bad) await hold(id, item);
      const operation = face.operations.find((candidate) => candidate.id === id)!;
      await refuseWhatAllRefuse(operation, good[0]!);
      expect(await lastChange()).toEqual(before);
    });
  });
});

async function prepare(item: Case | PlainPut): Promise<void> {
  if ('plainKey' in item) {
    await store.put({ key: item.plainKey, value: item.value });
    return;
  }
  const { method, path, status } = item;
  const answer = await face.call(method, path, { body: item.body });
  expect({ path, status: answer.status, text: answer.text }).toMatchObject({ status });
}

/** Makes the request of a case of this operation, and compares the answer with what it must be. */
async function hold(id: string, item: Case): Promise<void> {
  const { title, method, path, status, fields, answer, answerHeaders, reveals } = item;
  const what = `${id}: ${title}`;
  const answered = await face.call(method, path, {
    body: item.body,
    ...(item.payload === undefined ? {} : { payload: item.payload }),
    headers: item.headers ?? {},
    reveals,
  });
  expect({ what, status: answered.status, text: answered.text }).toEqual({
    what,
    status,
    text: expect.any(String),
  });
  expect(answered.operationId, what).toBe(id);
  if (answerHeaders !== undefined) expect(answered.headers, what).toMatchObject(answerHeaders);
  if (answer instanceof RegExp) expect(answered.text, what).toMatch(answer);
  else if (answer !== undefined)
    expect(typeof answer === 'string' ? answered.text : answered.body, what).toEqual(answer);
  else if (isOfrep(answered) && status >= 400)
    expect(answered.body, what).toMatchObject({
      errorCode: expect.stringMatching(/^(?:GENERAL|INVALID_CONTEXT|PARSE_ERROR)$/),
      errorDetails: expect.stringMatching(/\S/),
    });
  else if (status >= 400) expectFailure(what, answered, status);
  if (fields !== undefined && !isOfrep(answered)) expect(fieldsOf(answered), what).toEqual(fields);
}

/** OFREP's failures have a code of their own, and no list of fields. */
function isOfrep({ operationId }: { readonly operationId: string | null }): boolean {
  return operationId?.startsWith('ofrep') === true;
}

function fieldsOf({ body }: Answered): string[] {
  const { errors } = body as { readonly errors: readonly { readonly field: string }[] };
  return [...new Set(errors.map(({ field }) => field))];
}

/** RFC 9457, or on 002's paths its own shape. */
function expectFailure(what: string, { headers, body }: Answered, status: number): void {
  const errors = expect.any(Array);
  if (headers['content-type']?.startsWith('application/problem+json') === true) {
    const words = {
      type: expect.stringMatching(/^urn:conclave:problem:[a-z-]+$/),
      title: expect.any(String),
    };
    const rest = { detail: expect.any(String), code: expect.any(String), retryable: 'never' };
    expect(body, what).toEqual({ status, errors, ...words, ...rest });
  } else {
    expect(headers['content-type'], what).toBe('application/json; charset=utf-8');
    expect(body, what).toEqual({ message: expect.stringMatching(/\S/), errors });
  }
  for (const { message } of body.errors as { message: string }[]) expect(message, what).toMatch(/\S/);
}

/** What is wrong with a request of any operation, by what the document says that it takes. */
async function refuseWhatAllRefuse(operation: DocumentedOperation, sample: Case): Promise<void> {
  const { id, method } = operation;
  const { path, body, payload } = sample;
  const refused = async (
    title: string,
    status: number,
    more: Partial<Case> & { readonly fields?: readonly string[] },
  ): Promise<void> =>
    hold(id, { title, method, path, status, body, ...(payload === undefined ? {} : { payload }), ...more });
  const query = (text: string): string => path + (path.includes('?') ? '&' : '?') + text;

  await refused('a tenant that is none', 400, {
    headers: { ...sample.headers, 'x-conclave-tenant': 'a/b' },
    fields: ['X-Conclave-Tenant'],
  });
  await refused('a user too long', 400, {
    headers: { ...sample.headers, 'x-conclave-user': 'u'.repeat(101) },
    fields: ['X-Conclave-User'],
  });
  if (operation.isRead) {
    await refused('a consistency that is none', 400, {
      path: query('consistency=weak'),
      fields: ['consistency'],
    });
    const unbound = query('consistency=eventual&maxStalenessMs=5');
    await refused('a bound of an unbounded read', 400, { path: unbound, fields: ['maxStalenessMs'] });
  }
  if (operation.query.includes('reason')) {
    await refused('a key of idempotency too long', 400, {
      headers: { ...sample.headers, 'idempotency-key': 'k'.repeat(256) },
      fields: ['Idempotency-Key'],
    });
  }
  if (operation.bodyTypes.length === 0) return;
  const json = { 'content-type': 'application/json' };
  const sent = (payload: string, headers: Readonly<Record<string, string>>) => ({
    body: undefined,
    payload,
    headers,
  });
  await refused('broken JSON', 400, {
    ...sent('{"a": ', json),
    fields: expect.any(Array) as unknown as string[],
  });
  await refused('bytes that are no UTF-8', 400, {
    ...sent('"\u0000"', { 'content-type': 'application/json; charset=utf-16' }),
    fields: ['Content-Type'],
  });
  await refused('a body of another media type', 415, sent('<a/>', { 'content-type': 'application/xml' }));
  await refused('a body in another encoding', 415, sent('{}', { ...json, 'content-encoding': 'gzip' }));
  if (!operation.isBodyOptional) {
    await refused('no body', 400, {
      ...sent('', json),
      fields: expect.any(Array) as unknown as string[],
    });
  }
  expect(await statusOfAnnounced(operation, path), `${id}: a body too large`).toBe(413);
}

/** The status for a request that announces a body beyond every limit; it is never sent. */
function statusOfAnnounced({ method }: DocumentedOperation, path: string): Promise<number> {
  const headers = {
    'content-type': 'application/json',
    'content-length': REST_LIMITS_DEFAULT.importBytesMax + 1,
  };
  return new Promise((resolve, reject) => {
    const announced = request(face.url + path, { method, headers }, (response) => {
      resolve(response.statusCode!);
      announced.destroy();
    });
    announced.on('error', reject);
    announced.flushHeaders();
  });
}

/** The newest revision of what plain clients see, and of the service's own head. */
async function lastChange(): Promise<readonly unknown[]> {
  const head = await store.range({ key: '/_conclave/head' });
  const plain = await store.range({ key: '/default/', rangeEnd: '/default0', keysOnly: true });
  const newest = Math.max(0, ...plain.kvs.map(({ modRevision }) => modRevision));
  return [head.kvs[0]?.modRevision, plain.kvs.length, newest];
}
