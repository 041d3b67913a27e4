import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConfigClient, type ConfigClientOptions, type ConfigUpdate } from '../../src/client/config-client.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { applicationKey, environmentKey, plainKey } from '../../src/service/keyspace.ts';
import type { Application, Environment, Json } from '../../src/service/model.ts';
import { encodeApplication, encodeEnvironment, valueBytes } from '../../src/service/rows.ts';
import { SmallMember, SmallStore } from './small-store.ts';

let store: SmallStore;
let one: SmallMember;
let two: SmallMember;
let directory: string;
const clients: ConfigClient[] = [];
const servers: Server[] = [];
const problems: string[] = [];

beforeEach(async () => {
  store = new SmallStore();
  one = await new SmallMember(store).start();
  two = await new SmallMember(store).start();
  directory = await mkdtemp(join(tmpdir(), 'conclave-config-'));
  problems.length = 0;
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  for (const server of servers.splice(0)) server.close();
  await one.stop();
  await two.stop();
  await rm(directory, { recursive: true });
});

async function opened(options: Partial<ConfigClientOptions> = {}): Promise<ConfigClient> {
  const client = await ConfigClient.open({
    endpoints: [one.address, two.address],
    application: 'pay',
    environment: 'PROD',
    variables: {},
    onProblem: ({ message }) => problems.push(message),
    ...options,
  });
  clients.push(client);
  return client;
}

// ---- what the service puts, by its own encoders -----------------------------------------------------------------

const nameOf = (environment: string, key: string) => ({
  tenant: 'default',
  environment,
  application: 'pay',
  key,
});
const textKey = (environment: string, key: string): string => plainKey(nameOf(environment, key)).toString();

function put(environment: string, key: string, json: Json): void {
  const value = valueBytes({ type: 'json', json });
  store.put({ key: plainKey(nameOf(environment, key)), value, lease: 0n });
}
function putRaw(environment: string, key: string, text: string): void {
  store.put({ key: plainKey(nameOf(environment, key)), value: Buffer.from(text), lease: 0n });
}
function putSecret(environment: string, key: string, text: string): void {
  const sealed = { sealed: 1, keyId: 'k', nonce: 'bm9uY2U=', text } as const;
  const value = valueBytes({ type: 'secret', sealed });
  store.put({ key: plainKey(nameOf(environment, key)), value, lease: 0n });
}
function remove(environment: string, key: string): void {
  store.delete(plainKey(nameOf(environment, key)), Buffer.alloc(0));
}

const MADE = { createdBy: 'a', createdAt: '', updatedBy: 'a', updatedAt: '', version: 1 } as const;
const RULES = { locked: false, promoteOnlyFrom: null, reasonRequired: false } as const;

function inherit(id: string, parent: string | null): void {
  const row: Environment = {
    format: 1,
    tenant: 'default',
    id,
    description: '',
    parent,
    rules: RULES,
    ...MADE,
  };
  store.put({ key: environmentKey('default', id), value: encodeEnvironment(row), lease: 0n });
}
function defaults(values: Record<string, Json>): void {
  const row: Application = {
    format: 1,
    tenant: 'default',
    name: 'pay',
    description: '',
    defaults: values,
    rules: [],
    ...MADE,
  };
  store.put({ key: applicationKey('default', 'pay'), value: encodeApplication(row), lease: 0n });
}

/** Every change that a client tells, as words. */
function toldBy(client: ConfigClient): string[] {
  const told: string[] = [];
  client.onChange(({ changes }: ConfigUpdate) => {
    for (const { key, before, after } of changes)
      told.push(`${key}: ${JSON.stringify(before?.json)} -> ${JSON.stringify(after?.json)}`);
  });
  return told;
}

// ---- reads ------------------------------------------------------------------------------------------------------

test('an environment’s own value wins over inherited ones, the nearer over the farther, all over defaults', async () => {
  inherit('production', 'staging');
  inherit('staging', 'base');
  put('production', 'a', 'own');
  put('staging', 'a', 'near');
  put('staging', 'b', 'near');
  put('base', 'b', 'far');
  put('base', 'c', 'far');
  put('test', 'd', 'elsewhere');
  defaults({ c: 'default', e: 'default' });
  const config = await opened();
  expect(config.source).toBe('cluster');
  expect(config.environments).toEqual(['production', 'staging', 'base']);
  expect(config.all()).toEqual({ a: 'own', b: 'near', c: 'far', e: 'default' });
  expect(config.entries().map(({ key, environment }) => `${key} ${environment}`)).toEqual([
    'a production',
    'b staging',
    'c base',
    'e null',
  ]);
  expect(config.get('d')).toBeUndefined();
  expect(config.get('b')).toMatchObject({ source: 'cluster', type: 'string', json: 'near' });
});

test('getters give what they were asked for, and convert nothing', async () => {
  put('production', 'text', 'x');
  put('production', 'whole', 12);
  put('production', 'part', 1.5);
  put('production', 'large', 2 ** 60);
  put('production', 'yes', true);
  put('production', 'list', [1, 'b']);
  put('production', 'tree', { a: { b: null } });
  put('production', 'digits', '12');
  const config = await opened();
  expect(config.string('text')).toBe('x');
  expect(config.integer('whole')).toBe(12);
  expect(config.number('whole')).toBe(12);
  expect(config.number('part')).toBe(1.5);
  expect(config.boolean('yes')).toBe(true);
  expect(config.array('list')).toEqual([1, 'b']);
  expect(config.json('tree')).toEqual({ a: { b: null } });
  const wrong = { name: 'ConfigError', code: 'wrong-type' };
  expect(() => config.integer('part')).toThrow(expect.objectContaining(wrong));
  expect(() => config.integer('large')).toThrow('large is not an integer');
  expect(() => config.integer('digits')).toThrow(expect.objectContaining(wrong));
  expect(() => config.string('whole')).toThrow(expect.objectContaining(wrong));
  expect(() => config.boolean('text')).toThrow(expect.objectContaining(wrong));
  expect(() => config.array('tree')).toThrow('tree is not an array');
});

test('a default is given where there is nothing, and for a wrong type when that was asked for', async () => {
  put('production', 'text', 'x');
  put('production', 'null', null);
  const config = await opened();
  expect(config.integer('nothing', 7)).toBe(7);
  expect(config.json('null', 'default')).toBeNull();
  expect(() => config.integer('nothing')).toThrow(
    expect.objectContaining({ code: 'missing', key: 'nothing' }),
  );
  expect(() => config.integer('text', 7)).toThrow(expect.objectContaining({ code: 'wrong-type' }));
  expect(config.integer('text', 7, { whenWrong: 'default' })).toBe(7);
  expect(() => config.integer('text', undefined, { whenWrong: 'default' })).toThrow('not an integer');
  const lenient = await opened({ whenWrong: 'default' });
  expect(lenient.integer('text', 7)).toBe(7);
  expect(() => lenient.integer('text', 7, { whenWrong: 'throw' })).toThrow('not an integer');
});

test('what is no JSON is told as such, and hides what it overrides', async () => {
  inherit('production', 'staging');
  put('staging', 'a', 'inherited');
  putRaw('production', 'a', '{broken');
  const config = await opened();
  expect(config.get('a')).toMatchObject({ type: 'malformed', json: null });
  expect(() => config.string('a')).toThrow(expect.objectContaining({ code: 'malformed' }));
  expect(config.string('a', 'default', { whenWrong: 'default' })).toBe('default');
  expect(config.all()).toEqual({});
});

test('a variable stands in for what nobody has, read as the type that was asked for', async () => {
  put('production', 'db.pool.min', 1);
  const variables = {
    PAY_DB_POOL_MIN: '5',
    PAY_DB_POOL_MAX: '20',
    PAY_DB_HOST: 'h',
    PAY_ON: 'TRUE',
    PAY_LIST: '[1]',
    DB_PORT: '1',
  };
  const config = await opened({ variables });
  expect(config.integer('db.pool.min')).toBe(1);
  expect(config.integer('db.pool.max', 3)).toBe(20);
  expect(config.number('db.pool-max')).toBe(20);
  expect(config.string('db.pool.max')).toBe('20');
  expect(config.string('db.host')).toBe('h');
  expect(config.boolean('on')).toBe(true);
  expect(config.array('list')).toEqual([1]);
  expect(config.get('db.host')).toMatchObject({ source: 'variable', environment: null, revision: 0 });
  expect(config.integer('db.port', 9)).toBe(9);
  expect(() => config.integer('db.host')).toThrow('the variable for db.host is not an integer');
  expect(config.all()).toEqual({ 'db.pool.min': 1 });
});

test('names are checked before anything is asked', async () => {
  await expect(opened({ application: 'a/b' })).rejects.toMatchObject({ code: 'invalid-argument' });
  await expect(opened({ environment: '' })).rejects.toMatchObject({ code: 'invalid-argument' });
  expect(one.calls).toEqual([]);
});

// ---- changes ----------------------------------------------------------------------------------------------------

test('each change of a value is told once, in order, with the new one in place', async () => {
  put('production', 'a', 1);
  const config = await opened();
  const told = toldBy(config);
  const seen: number[] = [];
  config.onKey('a', () => seen.push(config.integer('a')));
  put('production', 'a', 2);
  await expect.poll(() => told).toHaveLength(1);
  put('production', 'b', 'new');
  await expect.poll(() => told).toHaveLength(2);
  put('production', 'a', 3);
  await expect.poll(() => told).toHaveLength(3);
  remove('production', 'b');
  await expect.poll(() => told).toHaveLength(4);
  expect(told).toEqual(['a: 1 -> 2', 'b: undefined -> "new"', 'a: 2 -> 3', 'b: "new" -> undefined']);
  expect(seen).toEqual([2, 3]);
});

test('what is put in one transaction is told at once', async () => {
  const config = await opened();
  const updates: ConfigUpdate[] = [];
  config.onChange((update) => updates.push(update));
  store.atOnce({ [textKey('production', 'a')]: '1', [textKey('production', 'b')]: '2' });
  await expect.poll(() => updates).toHaveLength(1);
  expect(updates[0]).toMatchObject({ revision: store.revision });
  expect(updates[0]!.changes.map(({ key }) => key)).toEqual(['a', 'b']);
});

test('only what holds is told: hidden values, equal ones and those of other places are no change', async () => {
  inherit('production', 'staging');
  put('production', 'a', 'own');
  put('staging', 'a', 'hidden');
  put('staging', 'b', 'inherited');
  const config = await opened();
  const told = toldBy(config);
  put('staging', 'a', 'hidden still');
  put('production', 'a', 'own');
  put('production', 'b', 'inherited');
  put('test', 'a', 'elsewhere');
  put('production', 'last', true);
  await expect.poll(() => told).toEqual(['last: undefined -> true']);
  expect(config.get('b')).toMatchObject({ environment: 'production' });
  remove('production', 'a');
  await expect.poll(() => told.slice(1)).toEqual(['a: "own" -> "hidden still"']);
});

test('a listener that was ended hears nothing more', async () => {
  const config = await opened();
  const told: string[] = [];
  const end = config.onKey('a', () => told.push('a'));
  put('production', 'a', 1);
  await expect.poll(() => told).toEqual(['a']);
  end();
  put('production', 'a', 2);
  await expect.poll(() => config.integer('a')).toBe(2);
  expect(told).toEqual(['a']);
});

test('another chain of inheritance is gone over to in one step', async () => {
  inherit('production', 'staging');
  put('staging', 'a', 'staging');
  put('staging', 'c', 'staging');
  put('base', 'a', 'base');
  put('base', 'b', 'base');
  const config = await opened();
  const updates: ConfigUpdate[] = [];
  config.onChange((update) => updates.push(update));
  inherit('production', 'base');
  await expect.poll(() => updates).toHaveLength(1);
  expect(updates[0]!.changes.map(({ key }) => key)).toEqual(['a', 'b', 'c']);
  expect(config.all()).toEqual({ a: 'base', b: 'base' });
  put('base', 'b', 'after');
  await expect.poll(() => config.string('b')).toBe('after');
  inherit('production', null);
  await expect.poll(() => config.all()).toEqual({});
  // Those of the environments that are left are closed: production's own, the rows, the application.
  await expect.poll(() => store.watchCount).toBe(3);
});

test('defaults of the application come and go', async () => {
  defaults({ a: 1, b: 1 });
  put('production', 'b', 2);
  const config = await opened();
  const told = toldBy(config);
  defaults({ a: 3, b: 4 });
  await expect.poll(() => told).toEqual(['a: 1 -> 3']);
  expect(config.all()).toEqual({ a: 3, b: 2 });
});

test('a row of a later format leaves what was known', async () => {
  inherit('production', 'staging');
  put('staging', 'a', 'inherited');
  const config = await opened();
  const later = Buffer.from('{"format":2,"parent":null}');
  store.put({ key: environmentKey('default', 'production'), value: later, lease: 0n });
  await expect.poll(() => problems).toContainEqual('a row has the unknown format 2');
  expect(config.string('a')).toBe('inherited');
  await expect(opened()).rejects.toMatchObject({ code: 'data-loss' });
});

// ---- while the cluster is away ----------------------------------------------------------------------------------

test('the snapshot file is the owner’s alone, whole, and enough to start with', async () => {
  const snapshotFile = join(directory, 'pay.json');
  inherit('production', 'staging');
  put('staging', 'a', { deep: [1] });
  putSecret('production', 'password', 'c2VhbGVk');
  const first = await opened({ snapshotFile });
  await first.close();
  expect((await stat(snapshotFile)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(['pay.json']);
  expect(await readFile(snapshotFile, 'utf8')).not.toContain('c2VhbGVk');
  await one.stop();
  await two.stop();
  const config = await opened({ snapshotFile });
  expect(config.source).toBe('snapshot');
  expect(config.json('a')).toEqual({ deep: [1] });
  expect(config.get('a')).toMatchObject({ source: 'snapshot', environment: 'staging' });
  expect(config.get('password')).toMatchObject({ type: 'secret', json: null });
  expect(problems.length).toBeGreaterThan(0);
});

test('what was started from the snapshot goes over to the cluster, and tells what is different', async () => {
  const snapshotFile = join(directory, 'pay.json');
  put('production', 'a', 1);
  put('production', 'same', 'x');
  putSecret('production', 'password', 'c2VhbGVk');
  await (await opened({ snapshotFile })).close();
  await one.stop();
  await two.stop();
  put('production', 'a', 2);
  const config = await opened({ snapshotFile });
  const told = toldBy(config);
  await expect(config.ready({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
  await expect(config.ready({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'canceled' });
  expect(config.integer('a')).toBe(1);
  await two.start();
  await config.ready();
  expect(config.source).toBe('cluster');
  expect(config.integer('a')).toBe(2);
  expect(config.get('same')).toMatchObject({ source: 'cluster' });
  expect(told).toEqual(['a: 1 -> 2']);
});

test('the file follows the changes', async () => {
  const snapshotFile = join(directory, 'pay.json');
  put('production', 'a', 1);
  await opened({ snapshotFile });
  const saved = async (): Promise<unknown> => {
    const { entries } = JSON.parse(await readFile(snapshotFile, 'utf8').catch(() => '{}'));
    return entries?.[0]?.value;
  };
  await expect.poll(saved).toBe(1);
  put('production', 'a', 2);
  await expect.poll(saved, { timeout: 10_000 }).toBe(2);
});

test('without a snapshot it fails, or starts with variables and defaults when it may', async () => {
  await one.stop();
  await two.stop();
  await expect(opened()).rejects.toMatchObject({ code: 'unavailable' });
  const config = await opened({ whenAway: 'start-empty', variables: { PAY_A: '5' } });
  expect(config.source).toBe('none');
  expect(config.integer('a')).toBe(5);
  expect(config.integer('b', 6)).toBe(6);
  put('production', 'a', 1);
  await one.start();
  await config.ready();
  expect(config.integer('a')).toBe(1);
});

test('a cluster that says nothing is not waited for longer than was asked', async () => {
  const snapshotFile = join(directory, 'pay.json');
  put('production', 'a', 1);
  await (await opened({ snapshotFile })).close();
  one.stalled = two.stalled = true;
  const config = await opened({ snapshotFile, startTimeoutMs: 50 });
  expect(config.source).toBe('snapshot');
  expect(problems).toContain('the cluster was not reached in time');
});

test('a file that cannot be read, or is another application’s, is none', async () => {
  const snapshotFile = join(directory, 'pay.json');
  await (await opened({ snapshotFile, application: 'other' })).close();
  await one.stop();
  await two.stop();
  await expect(opened({ snapshotFile })).rejects.toMatchObject({ code: 'unavailable' });
  expect(problems.at(-1)).toContain('is the snapshot of other in production of default');
  await writeFile(snapshotFile, '{"format":1,"entr');
  await expect(opened({ snapshotFile })).rejects.toMatchObject({ code: 'unavailable' });
  await writeFile(snapshotFile, '{"format":2,"entries":[]}');
  await expect(opened({ snapshotFile })).rejects.toMatchObject({ code: 'unavailable' });
  expect(problems.at(-1)).toContain('is no snapshot of a format that is known');
});

test('a file that cannot be written is told of, and nothing else', async () => {
  put('production', 'a', 1);
  const config = await opened({ snapshotFile: join(directory, 'none', 'pay.json') });
  await expect.poll(() => problems.join()).toContain('ENOENT');
  expect(config.integer('a')).toBe(1);
});

test('a member that goes away is left for another one', async () => {
  put('production', 'a', 1);
  const config = await opened();
  await one.stop();
  put('production', 'a', 2);
  await expect.poll(() => config.integer('a'), { timeout: 10_000 }).toBe(2);
  await two.stop();
  put('production', 'a', 3);
  expect(config.integer('a')).toBe(2);
  await one.start();
  await expect.poll(() => config.integer('a'), { timeout: 10_000 }).toBe(3);
  expect(config.source).toBe('cluster');
});

test('a refusal, and another cluster in the place of the one before, leave the values until they are got over', async () => {
  inherit('production', 'staging');
  put('production', 'a', 1);
  const config = await opened();
  const told = toldBy(config);
  one.failing = two.failing = () => new RpcError(rpcStatus.permissionDenied, 'etcdserver: permission denied');
  await one.stop();
  await two.stop();
  await one.start();
  await expect.poll(() => problems, { timeout: 10_000 }).toContain('etcdserver: permission denied');
  put('production', 'a', 2);
  expect(config.integer('a')).toBe(1);
  expect(config.environments).toEqual(['production', 'staging']);
  one.failing = null;
  await expect.poll(() => config.integer('a'), { timeout: 10_000 }).toBe(2);
  one.clusterId = 0x99;
  await one.stop();
  put('production', 'a', 3);
  await one.start();
  await expect.poll(() => config.integer('a'), { timeout: 10_000 }).toBe(3);
  expect(problems.join()).toContain('another cluster');
  expect(told).toEqual(['a: 1 -> 2', 'a: 2 -> 3']);
});

test('a signal gives up the opening, or closes the client', async () => {
  await expect(opened({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'canceled' });
  one.stalled = two.stalled = true;
  const early = new AbortController();
  const opening = opened({ signal: early.signal });
  await expect.poll(() => one.calls.length + two.calls.length).toBeGreaterThan(0);
  early.abort();
  await expect(opening).rejects.toMatchObject({ code: 'canceled' });
  one.stalled = two.stalled = false;
  const late = new AbortController();
  put('production', 'a', 1);
  const config = await opened({ signal: late.signal });
  late.abort();
  await expect.poll(() => store.watchCount).toBe(0);
  expect(config.integer('a')).toBe(1);
  await config.close();
});

// ---- secrets ----------------------------------------------------------------------------------------------------

/** The HTTP face as far as secrets go: the lookup of 002. */
async function lookups(
  answer: (request: IncomingMessage) => { readonly status: number; readonly body: unknown },
): Promise<string> {
  const server = createServer((request, response) => {
    const { status, body } = answer(request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a secret is named, never shown, and asked for over HTTP once for each version of it', async () => {
  putSecret('production', 'db.password', 'c2VhbGVk');
  put('production', 'plain', { a: 1 });
  const asked: string[] = [];
  const endpoint = await lookups(({ url, headers }) => {
    asked.push([url, headers['x-conclave-tenant'], headers['x-conclave-user']].join(' '));
    return {
      status: 200,
      body: { key: 'db.password', value: `secret ${asked.length}`, valueType: 'SECRET' },
    };
  });
  const config = await opened({ http: { endpoints: [endpoint], user: 'pay' } });
  expect(config.get('db.password')).toMatchObject({ type: 'secret', json: null });
  expect(() => config.string('db.password')).toThrow(expect.objectContaining({ code: 'secret' }));
  expect(config.all()).toEqual({ plain: { a: 1 } });
  expect(JSON.stringify(config.entries())).not.toContain('c2VhbGVk');
  expect(await config.secret('db.password')).toBe('secret 1');
  expect(await config.secret('db.password')).toBe('secret 1');
  const [words] = asked;
  const { pathname, searchParams } = new URL(words!.split(' ')[0]!, endpoint);
  expect(pathname).toBe('/configs/lookup');
  expect(Object.fromEntries(searchParams)).toMatchObject({
    key: 'db.password',
    application: 'pay',
    environment: 'production',
  });
  expect(words).toMatch(/ default pay$/);
  const told = toldBy(config);
  putSecret('production', 'db.password', 'b3RoZXI=');
  await expect.poll(() => told).toEqual(['db.password: null -> null']);
  expect(await config.secret('db.password')).toBe('secret 2');
  expect(asked).toHaveLength(2);
  expect(await config.secret('plain')).toBe('{"a":1}');
  await expect(config.secret('nothing')).rejects.toMatchObject({ code: 'missing' });
});

test('while nobody answers a secret is the one that was read, else the variable', async () => {
  putSecret('production', 'password', 'c2VhbGVk');
  putSecret('production', 'other', 'c2VhbGVk');
  let status = 200;
  const endpoint = await lookups(() => ({
    status,
    body: { value: 'shown', code: 'forbidden', detail: 'no' },
  }));
  const variables = { PAY_OTHER: 'of the process' };
  const config = await opened({ http: { endpoints: ['http://127.0.0.1:1', endpoint] }, variables });
  expect(await config.secret('password')).toBe('shown');
  status = 503;
  putSecret('production', 'password', 'b3RoZXI=');
  await expect.poll(() => config.get('password')?.revision).toBe(store.revision);
  expect(await config.secret('password')).toBe('shown');
  expect(await config.secret('other')).toBe('of the process');
  status = 403;
  await expect(config.secret('other')).rejects.toMatchObject({
    status: 403,
    message: 'no',
    code: 'forbidden',
  });
  const without = await opened({ variables });
  await expect(without.secret('other')).rejects.toMatchObject({ code: 'secret' });
});
