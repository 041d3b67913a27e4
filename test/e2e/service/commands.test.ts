import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CliIo } from '../../../src/cli/io.ts';
import { program } from '../../../src/cli/program.ts';
import { KvClient } from '../../../src/client/kv-client.ts';
import { run as runHere } from '../../cli/captured-io.ts';
import { CertificateFiles, TestAuthority } from '../../support/certificates.ts';
import { Cluster } from '../../support/cluster.ts';
import { type CommandResult, run } from '../../support/etcdctl.ts';
import { repositoryRoot } from '../../support/repository-root.ts';
import { KeyFile } from './key-file.ts';

const MAIN = join(repositoryRoot(), 'dist/src/main.js');
/** Commands with tests of their own elsewhere: they follow a stream. */
const ELSEWHERE = ['config watch'];

let keys: KeyFile;
let cluster: Cluster;
let directory: string;
/** What was called, as words. */
const called: (readonly string[])[] = [];

beforeAll(async () => {
  keys = new KeyFile();
  directory = await mkdtemp(join(tmpdir(), 'conclave-commands-'));
  cluster = await Cluster.start(3, [keys.flag]);
  await Promise.all(
    cluster.members.map(({ process }) => process!.logged('the configuration service is served')),
  );
});
afterAll(async () => {
  await cluster?.destroy();
  await rm(directory, { recursive: true, force: true });
  keys[Symbol.dispose]();
});

type Env = Readonly<Record<string, string>>;

/** The environment of all calls: what is meant is named in it. */
function meant(env: Env): Record<string, string> {
  return {
    CONCLAVE_HTTP_ENDPOINT: cluster.members.map(({ httpUrl }) => httpUrl).join(','),
    CONCLAVE_APPLICATION: 'pay',
    CONCLAVE_ENVIRONMENT: 'PROD',
    CONCLAVE_USER: 'ann',
    ...env,
  };
}

/** The command, in this process: starting one takes longer than all that it does. */
async function conclave(
  words: readonly string[],
  { env = {}, input = '' }: Given = {},
): Promise<CommandResult> {
  called.push(words);
  const { code, out, err } = await runHere(words, { env: meant(env), stdin: input });
  return { code, stdout: out, stderr: err };
}

/** The command as a person runs it. */
function conclaveProcess(words: readonly string[], input = ''): Promise<CommandResult> {
  return run(process.execPath, [MAIN, ...words], meant({}), input);
}

interface Given {
  readonly env?: Env;
  readonly input?: string;
}

/** What a command that succeeds prints; it says nothing beside. */
async function printed(words: readonly string[], more: Given = {}): Promise<string> {
  const { code, stdout, stderr } = await conclave(words, more);
  expect({ words, code, stderr }).toEqual({ words, code: 0, stderr: '' });
  return stdout;
}

const config = (line: string, more: Given = {}): Promise<string> =>
  printed(['config', ...line.split(' ')], more);
const app = (line: string, more: Given = {}): Promise<string> => printed(['app', ...line.split(' ')], more);
const env = (line: string, more: Given = {}): Promise<string> => printed(['env', ...line.split(' ')], more);

const flag = (line: string, more: Given = {}): Promise<string> => printed(['flag', ...line.split(' ')], more);

// oxlint-disable-next-line typescript/no-explicit-any -- tests look into all kinds of answers
async function json(group: 'config' | 'env' | 'app' | 'flag', line: string, more: Given = {}): Promise<any> {
  return JSON.parse(await printed([group, ...line.split(' '), '--json'], more));
}

/** A command that fails: with this code, nothing on standard output, and one line of why. */
async function refused(line: string, code: number, why: RegExp, more: Given = {}): Promise<void> {
  const result = await conclave(line.split(' '), more);
  expect({ line, code: result.code, stdout: result.stdout }).toEqual({ line, code, stdout: '' });
  expect(result.stderr, line).toMatch(/^error: [^\n]+\n$/);
  expect(result.stderr, line).toMatch(why);
}

const rows = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));

describe('conclave config', () => {
  test('set, get, list, history, rollback, delete and undelete', async () => {
    expect(
      await config('set db.pool.max 10 --reason first --tag db cap --type integer --description Connections'),
    ).toBe('db.pool.max of pay in production is at version 1\n');
    const schema = join(directory, 'schema.json');
    await writeFile(schema, '{"type":"integer","maximum":100}');
    await config(`set db.pool.max 20 --reason load --change-set june --schema-file ${schema} --ttl 60m`);
    const [human, machine, listed, narrowed, history, short] = await Promise.all([
      config('get db.pool.max'),
      json('config', 'get db.pool.max'),
      config('list --prefix db.pool'),
      json('config', 'list --tag cap --search connections --type integer --limit 1'),
      config('history db.pool.max'),
      json('config', 'history db.pool.max --limit 1'),
    ]);
    expect(human).toBe('20\n');
    expect(machine).toEqual({
      key: 'db.pool.max',
      value: '20',
      valueType: 'NUMBER',
      valueSubtype: 'INTEGER',
      version: 2,
      source: 'own',
      environment: 'PROD',
    });
    expect(rows(listed)).toEqual([
      ['APPLICATION', 'ENVIRONMENT', 'KEY', 'TYPE', 'VALUE', 'VERSION', 'UPDATED'],
      ['pay', 'production', 'db.pool.max', 'integer', '20', '2', expect.stringMatching(/^\d{4}-/)],
    ]);
    expect(narrowed).toMatchObject({
      items: [{ key: 'db.pool.max', value: 20, schema: '{"type":"integer","maximum":100}' }],
      total: 1,
    });
    expect(rows(history).map((row) => row.filter((_, at) => at !== 1))).toEqual([
      ['VERSION', 'BY', 'VALUE', 'REASON'],
      ['2', 'ann', '20', 'load'],
      ['1', 'ann', '10', 'first'],
    ]);
    expect(short.items).toMatchObject([{ version: 2, reason: 'load', createdBy: 'ann' }]);
    expect(await config('rollback db.pool.max 1 --reason worse --change-set june')).toBe(
      'db.pool.max of pay in production is as it was in version 1, at version 3\n',
    );
    expect(await config('delete db.pool.max --reason gone --change-set june')).toBe(
      'db.pool.max is deleted\n',
    );
    expect(await config('get db.pool.max --default 7')).toBe('7\n');
    expect(await config('undelete db.pool.max --reason back --change-set june')).toContain(
      'is back, at version 5',
    );
    const listedAgain = await json('config', 'get db.pool.max');
    expect(listedAgain).toMatchObject({ value: '10', version: 5 });
  });

  test('a secret comes from standard input, is masked, and revealed', async () => {
    await config('set db.password --secret', { input: 'hunter2 of commands\n' });
    expect(await config('get db.password')).toBe('********\n');
    expect(await config('list')).not.toContain('hunter2');
    expect(await config('get db.password --reveal')).toBe('hunter2 of commands\n');
    expect(await config('export --format dotenv')).not.toContain('hunter2');
    expect(await config('export --format json --reveal')).toContain('hunter2 of commands');
  });

  test('validate, diff and merge', async () => {
    await config('set pool {"max":10,"old":1}');
    await config('set pool {"max":20,"min":1}');
    expect(await config('validate pool {"max":30} --reason tried --change-set june')).toBe('valid\n');
    const schema = join(directory, 'pool.json');
    await writeFile(schema, '{"type":"object"}');
    const said = `--schema-file ${schema} --description Connections --tag db --ttl 5m`;
    expect(await json('config', `validate pool {"max":30} ${said}`)).toMatchObject({
      valid: true,
      errors: [],
    });
    expect(await config('validate db.token --secret', { input: 'tried and not kept\n' })).toBe('valid\n');
    const invalid = await conclave(['config', 'validate', 'pool', 'x', '--type', 'json']);
    expect(invalid).toMatchObject({ code: 1, stdout: expect.stringMatching(/^not valid\nerror: value: /) });
    expect(await config('diff pool --from 1')).toBe(
      '- pool in production, version 1\n+ pool in production, version 2\n~ /max: 10 -> 20\n- /old: 1\n+ /min: 1\n',
    );
    expect(JSON.parse(await config('diff pool --from 1 --to 2 --patch'))).toContainEqual({
      op: 'remove',
      path: '/old',
    });
    await config('set pool {"max":5} --environment TEST');
    const beside = await conclave(['config', 'diff', '--with', 'TEST', '--exit-code', 'pool']);
    expect(beside).toMatchObject({ code: 1, stdout: expect.stringContaining('~ /max: 20 -> 5') });
    const value = '{"max":30,"old":1,"new":2}';
    const conflict = await conclave(['config', 'merge', 'pool', '--base', '1', '--value', value]);
    expect(conflict).toMatchObject({ code: 1, stdout: expect.stringMatching(/^conflict at \/max: /) });
    expect(conflict.stderr).toBe('error: 1 conflicts; nothing was saved\n');
    expect(await config(`merge pool --base 1 --value ${value} --strategy theirs --dry-run`)).toContain(
      '"max":30',
    );
    await config(`merge pool --base 1 --value ${value} --strategy theirs --reason both --change-set june`);
    expect(JSON.parse(await config('get pool'))).toEqual({ max: 30, min: 1, new: 2 });
    expect(await config('merge pool --base 3 --their-version 2 --strategy ours')).toMatch(/^saved: /);
    expect(await config('merge pool --base 4 --from TEST --strategy ours')).toMatch(/^saved: /);
  });

  test('import, export, promote, and a release that is taken back', async () => {
    const file = join(directory, 'ship.yaml');
    await writeFile(file, 'db:\n  pool:\n    max: 20\n  key: sealed by import\n');
    const ship = { env: { CONCLAVE_APPLICATION: 'ship' } };
    const line = `import ${file} --shape nested --secret-key db.key`;
    expect(await config(`${line} --dry-run`, ship)).toContain('it would be: 2 created, 0 updated');
    expect(await config(`${line} --reason start --change-set ship-1`, ship)).toBe(
      '2 created, 0 updated, 0 deleted, 0 as they were\n',
    );
    const nested = await config('export --format yaml --shape nested --inherited', ship);
    expect(nested).toBe('db:\n  key: "********"\n  pool:\n    max: 20\n');
    expect(
      await config('import - --format json --delete-missing', { ...ship, input: '{"db.pool.max":30}' }),
    ).toBe('0 created, 1 updated, 1 deleted, 0 as they were\n');
    const promote = 'promote --from PROD --to STAGING';
    expect(await config(`${promote} --dry-run`, ship)).toContain('Nothing was changed');
    expect(
      rows(await config(`${promote} db.pool.max --reason go --change-set ship-2 --delete-missing`, ship)),
    ).toEqual([
      ['', 'KEY', 'BEFORE', 'AFTER'],
      ['created', 'db.pool.max', '30'],
    ]);
    expect(await config('rollback --of-change-set ship-2 --dry-run')).toContain('would be deleted');
    expect(await json('config', 'rollback --of-change-set ship-2 --force --reason broken')).toMatchObject({
      items: [{ type: 'deleted' }],
    });
    expect(await json('config', 'list --application ship --environment STAGING')).toEqual({
      items: [],
      total: 0,
    });
    await rm(file);
  });

  test('tells in one line why not, by its exit code whose fault it is', async () => {
    await config('set number 5 --type integer');
    await Promise.all([
      refused('config get never.made', 1, /never\.made/),
      refused('config get k --application nobody', 1, /nobody/),
      refused('config set number x', 2, /^error: value: /),
      refused('config set a/b 1', 2, /^error: key: /),
      refused('config set number 6 --if-match 1', 1, /If-Match/),
      refused('config set number 6 --environment MOON', 2, /environment: /),
      refused('config set number 6 --type date', 2, /--type/),
      refused('config rollback number 9', 1, /9/),
      refused('config diff number', 2, /--from, --to or --with/),
      refused('config merge number --value 1', 2, /--base is needed/),
      refused('config import /never/made.json', 1, /made\.json does not exist/),
      refused('config promote --from PROD', 2, /--from and --to/),
      refused('config list --limit x', 2, /--limit/),
      refused('config get number', 2, /--application is needed/, { env: { CONCLAVE_APPLICATION: '' } }),
      refused('config get number', 2, /X-Conclave-Tenant/, { env: { CONCLAVE_TENANT: 'a/b' } }),
      refused('env get moon', 1, /moon/),
      refused('env create a/b', 2, /^error: id: /),
    ]);
  });

  test('another tenant, another member and other options in the place of the environment', async () => {
    const endpoint = cluster.members[2]!.httpUrl;
    await config(
      `set alone 1 --tenant acme --http-endpoint ${endpoint} --application own --environment TEST`,
    );
    const alone = {
      env: { CONCLAVE_TENANT: 'acme', CONCLAVE_APPLICATION: 'own', CONCLAVE_ENVIRONMENT: 'test' },
    };
    expect(await config('get alone', alone)).toBe('1\n');
    // A member that is away is passed over.
    const away = `http://127.0.0.1:1,${endpoint}`;
    expect(await config(`get alone --http-endpoint ${away} --write-out simple`, alone)).toBe('1\n');
    const nobody = await conclave(['config', 'get', 'alone', '--http-endpoint', 'http://127.0.0.1:1']);
    expect(nobody).toMatchObject({ code: 1, stdout: '' });
    expect(nobody.stderr).toContain('--http-endpoint');
  });
});

test('as processes: what they print, where, and with which code they end', async () => {
  const [done, failed, wrong, help] = await Promise.all([
    conclaveProcess(['config', 'set', 'of.process', '--json'], 'from standard input\n'),
    conclaveProcess(['config', 'get', 'never.made']),
    conclaveProcess(['config', 'get', 'a b']),
    conclaveProcess(['config', '--help']),
  ]);
  expect(done).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(done!.stdout)).toMatchObject({
    key: 'of.process',
    value: 'from standard input',
    version: 1,
  });
  expect(failed).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^error: [^\n]+\n$/) });
  expect(wrong).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(/^error: key: [^\n]+\n$/),
  });
  expect(help).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('Exit codes:') });
});

test('conclave env: list, get, create, update, lock, unlock, delete', async () => {
  const made = 'create canary --parent PROD --require-reason --promote-only-from STAGING --description Few';
  expect(await env(`${made} --reason try`)).toBe(
    [
      'Environment: canary',
      'Description: Few',
      'Inherits: production',
      'Locked: no',
      'Promotion: only from staging',
      'Reason: required',
      'Version: 1',
      '',
    ].join('\n'),
  );
  const [listed, all] = await Promise.all([env('list'), json('env', 'list')]);
  expect(rows(listed).at(-1)).toEqual(['canary', 'production', 'staging', 'required', 'Few']);
  expect(all.items).toHaveLength(5);
  expect(await env('lock canary --reason freeze --change-set june')).toContain('Locked: yes');
  expect(await env('unlock canary --reason thaw --change-set june')).toContain('Locked: no');
  const free = 'update canary --no-parent --no-promote-only-from --no-require-reason --reason free';
  expect(await json('env', free)).toMatchObject({
    parent: null,
    rules: { locked: false, promoteOnlyFrom: null, reasonRequired: false },
  });
  expect(await env('get canary')).toContain('Inherits: nothing');
  const acme = `--tenant acme --http-endpoint ${cluster.members[1]!.httpUrl} --change-set july --reason so`;
  const bare = 'create canary --no-parent --no-promote-only-from --no-require-reason';
  expect(await env(`${bare} ${acme}`)).toContain('Inherits: nothing');
  const bound = 'update canary --parent TEST --promote-only-from DEV --require-reason --description Bound';
  expect(await json('env', `${bound} ${acme}`)).toMatchObject({
    id: 'canary',
    description: 'Bound',
    parent: 'test',
    rules: { promoteOnlyFrom: 'development', reasonRequired: true },
    version: 2,
  });
  expect(await env('delete canary --reason unused --change-set june')).toBe('canary is deleted\n');
});

test('conclave app: list, get, create, set, delete', async () => {
  const rules = join(directory, 'rules.json');
  await writeFile(rules, '[{"name":"r","expression":"config[\'min\'] < 9","message":"too many"}]');
  const made = `create till --description Checkout --default min=2 name=till --rules-file ${rules} --reason new`;
  const shown = [
    'Application: till',
    'Description: Checkout',
    'Default: min = 2',
    'Default: name = till',
    "Rule: r: config['min'] < 9 (too many)",
  ];
  expect(await app(`${made} --change-set june`)).toBe(`${[...shown, 'Version: 1'].join('\n')}\n`);
  const changed = 'set till --default max={"a":1} --unset-default name --description Tills --reason more';
  expect(await json('app', `${changed} --change-set june`)).toMatchObject({
    description: 'Tills',
    defaults: { min: 2, max: { a: 1 } },
    rules: [{ name: 'r' }],
    version: 2,
  });
  expect(rows(await app('list'))).toContainEqual(['till', '2', '1', '2', 'Tills']);
  // Rules are held where the application has something.
  const test = { env: { CONCLAVE_APPLICATION: 'till', CONCLAVE_ENVIRONMENT: 'test' } };
  await config('set k 1', test);
  await refused('app set till --default min=10', 2, /too many/);
  await refused('app delete till', 1, /configurations/);
  await config('delete k', test);
  await refused('app set till --default min', 2, /KEY=VALUE/);
  await refused('app set till --unset-default none', 2, /none/);
  await refused('app get nobody', 1, /nobody/);
  const unruled = await conclave(['app', 'set', 'till', '--rules-file', '']);
  expect(unruled).toMatchObject({ code: 0, stdout: expect.not.stringContaining('Rule:') });
  expect(await app('get till')).toBe(unruled.stdout);
  const acme = `--tenant acme --http-endpoint ${cluster.members[1]!.httpUrl}`;
  expect(await json('app', `list ${acme}`)).toMatchObject({ items: expect.not.arrayContaining(['till']) });
  expect(await app('delete till --reason closed --change-set june')).toBe('till is deleted\n');
});

test('conclave config drift: list, adopt, revert', async () => {
  const drifting = { env: { CONCLAVE_APPLICATION: 'drifting', CONCLAVE_ENVIRONMENT: 'test' } };
  await config('set a 1', drifting);
  await config('set b 1', drifting);
  expect(await config('drift list', drifting)).toBe('nothing has drifted\n');
  using store = new KvClient({ endpoints: [cluster.members[0]!.clientUrl] });
  for (const key of ['a', 'b']) await store.put({ key: `/default/test/drifting/${key}`, value: '2' });
  expect(rows(await config('drift list', drifting))).toEqual([
    ['APPLICATION', 'ENVIRONMENT', 'KEY', 'DRIFT', 'EXPECTED', 'ACTUAL'],
    ['drifting', 'test', 'a', 'changed', '1', '2'],
    ['drifting', 'test', 'b', 'changed', '1', '2'],
  ]);
  expect(await config('drift adopt a --reason right --change-set june', drifting)).toBe('1 adopted\n');
  expect(await json('config', 'drift revert b --reason wrong --change-set june', drifting)).toMatchObject({
    reverted: 1,
  });
  expect(await config('drift list', drifting)).toBe('nothing has drifted\n');
  expect(await config('get a', drifting)).toBe('2\n');
  expect(await config('get b', drifting)).toBe('1\n');
  expect(await config('drift revert a', drifting)).toBe('0 put back\n');
});

test('conclave config delivery: who has a change', async () => {
  const ran = { env: { CONCLAVE_APPLICATION: 'ran', CONCLAVE_ENVIRONMENT: 'test' } };
  await config('set k 1', ran);
  const url = `${cluster.members[0]!.httpUrl}/api/v1/instances/test/ran/pod-1`;
  const headers = { 'content-type': 'application/json' };
  expect((await fetch(url, { method: 'PUT', headers, body: '{"ttlSeconds":600}' })).status).toBe(201);
  const here = `--http-endpoint ${cluster.members[0]!.httpUrl}`;
  const told = await config(`delivery k ${here}`, ran);
  expect(told).toMatch(
    /^STATE .*\nlagging +test\/ran\/pod-1 +0 .*\nrevision \d+: 0 applied, 1 lagging, 0 rejected\n$/,
  );
  const { revision } = await json('config', `delivery k ${here}`, ran);
  expect(await config(`delivery --revision ${revision} ${here}`, ran)).toBe(told);
  await refused('config delivery', 2, /--revision/);
});

describe('conclave flag', () => {
  const GOLD = {
    type: 'string',
    variants: { red: 'r', blue: 'b', green: 'g' },
    offVariant: 'red',
    fallthrough: { variant: 'red' },
    rules: [
      { when: [{ attribute: 'plan', operator: 'EQUALS', values: ['gold'] }], serve: { variant: 'blue' } },
    ],
  };

  test('a flag is made, switched, rolled out, explained, taken back, deleted and brought back', async () => {
    const why = '--reason so --change-set june';
    expect(await flag(`set beta --boolean --description Beta --tag web a ${why}`)).toBe(
      'beta of pay in production is at version 1\n',
    );
    expect(await flag(`enable beta ${why}`)).toBe('beta of pay in production is enabled, at version 2\n');
    expect(await flag(`rollout beta 12.5 --variant on ${why}`)).toBe(
      'beta of pay in production is rolled out to 12.5 %, at version 3\n',
    );
    expect(await flag('disable beta --reason burns --change-set june')).toContain(
      'is disabled, at version 4',
    );
    const [listed, history, short, difference, shown, inherited] = await Promise.all([
      flag('list --tag web --search beta --prefix be'),
      flag('history beta'),
      json('flag', 'history beta --limit 1'),
      flag('diff beta 3'),
      flag('get beta'),
      json('flag', 'get beta'),
    ]);
    expect(rows(listed)).toEqual([
      ['KEY', 'APPLICATION', 'ENVIRONMENT', 'STATE', 'TYPE', 'ROLLOUT', 'VERSION', 'CHANGED', 'BY'],
      ['beta', 'pay', 'production', 'off', 'boolean', '12.5 %', '4', expect.stringMatching(/^\d{4}-/), 'ann'],
    ]);
    expect(rows(history).map((row) => row.filter((_, at) => at !== 1))).toEqual([
      ['VERSION', 'BY', 'STATE', 'ROLLOUT', 'REASON'],
      ['4', 'ann', 'off', '12.5 %', 'burns'],
      ['3', 'ann', 'on', '12.5 %', 'so'],
      ['2', 'ann', 'on', 'so'],
      ['1', 'ann', 'off', 'so'],
    ]);
    expect(short.items).toMatchObject([{ version: 4, reason: 'burns', createdBy: 'ann' }]);
    expect(difference).toBe('~ /definition/enabled: true -> false\n');
    expect(shown).toMatch(
      /^Flag: beta of pay in production\nDescription: Beta\nState: off\nVariants: on = true, off = false\nTags: a, web\n/,
    );
    expect(inherited).toMatchObject({ key: 'beta', source: 'own', version: 4 });
    expect(await flag(`rollback beta 2 ${why}`)).toBe(
      'beta of pay in production is as it was in version 2, at version 5\n',
    );
    const explained = await flag(
      'explain beta --user-key ada --context plan=gold age=70 --at 2031-01-01T00:00:00Z',
    );
    expect(explained).toContain('The answer is variant on (true)');
    expect(await flag(`delete beta ${why}`)).toBe('beta is deleted\n');
    expect(await json('flag', 'list')).toEqual({ items: [] });
    expect(await flag(`undelete beta ${why}`)).toBe('beta of pay in production is back, at version 7\n');
  });

  test('definitions come from files, and go over to flagd and back', async () => {
    const file = join(directory, 'gold.json');
    await writeFile(file, JSON.stringify(GOLD));
    const other = { env: { CONCLAVE_APPLICATION: 'flagged' } };
    expect(await flag(`set gold --file ${file}`, other)).toContain('at version 1');
    expect(await flag('set plain --file -', { ...other, input: JSON.stringify(GOLD) })).toContain(
      'at version 1',
    );
    expect(await json('flag', 'explain gold --context plan=gold', other)).toMatchObject({
      variant: 'blue',
      reason: 'TARGETING_MATCH',
    });
    const document = join(directory, 'flags.json');
    await writeFile(document, await flag('export', other));
    const taken = { env: { CONCLAVE_APPLICATION: 'taken' } };
    expect(rows(await flag(`import ${document} --dry-run`, taken))).toEqual([
      ['KIND', 'KEY', 'WOULD BE'],
      ['flag', 'gold', 'created'],
      ['flag', 'plain', 'created'],
    ]);
    const partly = await flag(`import ${document} --partial --reason move --change-set june`, taken);
    expect(rows(partly)[1]).toEqual(['flag', 'gold', 'created']);
    const exported = await flag('export', taken);
    expect(exported).toBe(await readFile(document, 'utf8'));
    const wrong = '{"flags":{"x":{"state":"ENABLED","variants":{},"defaultVariant":"on"}}}';
    const warned = await conclave(['flag', 'import', '-', '--partial'], { ...taken, input: wrong });
    expect(warned).toMatchObject({ code: 0, stderr: expect.stringMatching(/^warning: flags\/x/) });
    await refused('flag import -', 2, /flags\/x/, { ...taken, input: wrong });
  });

  test('what flags answered, and which may go', async () => {
    const scope = { env: { CONCLAVE_APPLICATION: 'used' } };
    await flag('set asked --boolean', scope);
    await flag('enable asked', scope);
    const [member] = cluster.members;
    const query = 'key=asked&application=used&environment=PROD&service=web';
    expect((await fetch(`${member!.httpUrl}/feature-flags/check?${query}`)).status).toBe(200);
    // Another member knows of it once it is written.
    const here = `--http-endpoint ${member!.httpUrl}`;
    const [day, later] = [86_400_000, Date.now() + 60_000].map((ms) => new Date(ms).toISOString());
    const from = new Date(Date.parse(later!) - Date.parse(day!)).toISOString();
    expect(await flag(`evaluations --csv --flag asked --from ${from} --to ${later} ${here}`, scope)).toMatch(
      /^hour,application,[^\n]+\n[^,]+,used,production,asked,on,STATIC,web,1\r\n$/,
    );
    expect(JSON.parse(await flag(`evaluations ${here}`, scope))).toMatchObject({ flag: 'asked', count: 1 });
    expect(rows(await flag('stale --days 0', scope))[1]).toEqual([
      'asked',
      'used',
      'production',
      '0 days',
      'answers-everybody-alike',
    ]);
  });

  test('which variant does better, and flags that go to another environment', async () => {
    const scope = { env: { CONCLAVE_APPLICATION: 'compared' } };
    await flag('set tried --boolean --environment STAGING', scope);
    const [member] = cluster.members;
    const told = await fetch(`${member!.httpUrl}/api/v1/flags/exposures`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        application: 'compared',
        environment: 'STAGING',
        exposures: [
          { flag: 'tried', variant: 'on', targetingKey: 'ada', converted: true },
          { flag: 'tried', variant: 'off', targetingKey: 'bob' },
        ],
      }),
    });
    expect(told.status).toBe(204);
    const here = `--environment STAGING --http-endpoint ${member!.httpUrl}`;
    expect(await flag(`experiment tried ${here} --control on`, scope)).toMatch(
      /on \(control\) +1 +1 +100\.00 %/,
    );
    expect(await flag(`experiment tried ${here} --csv`, scope)).toContain('compared,staging,tried,on,');
    expect(await flag(`experiment tried ${here} --json-lines`, scope)).toMatch(/^\{[^\n]+\}\n\{[^\n]+\}\n$/);
    expect(await flag(`experiment tried ${here} --reset`, scope)).toContain('begins anew');
    const way = '--from STAGING --to TEST';
    expect(rows(await flag(`promote ${way} --dry-run`, scope))[0]).toEqual([
      'KIND',
      'KEY',
      'WOULD BE',
      'VERSION',
    ]);
    expect(rows(await flag(`promote tried ${way} --reason go --change-set r9`, scope))[1]).toEqual([
      'flag',
      'tried',
      'created',
      '1',
    ]);
    await refused(`flag promote ${way} --segment none`, 1, /none/, scope);
  });

  test('tells in one line why not, and changes nothing', async () => {
    await flag('set kept --boolean');
    const file = join(directory, 'wrong.json');
    await writeFile(file, JSON.stringify({ ...GOLD, fallthrough: { variant: 'none' } }));
    await Promise.all([
      refused('flag get never-made', 1, /there is no flag never-made/),
      refused('flag enable never-made', 1, /never-made|the id/),
      refused('flag set kept --file /never/made.json', 1, /made\.json does not exist/),
      refused(
        `flag set kept --file ${file}`,
        2,
        /definition\/fallthrough\/variant: there is no variant none/,
      ),
      refused(`flag set kept --file ${file} --boolean`, 2, /contradict/),
      refused('flag set never-made', 2, /definition: is missing/),
      refused('flag rollout kept 101', 2, /percentage/),
      refused('flag rollout kept 1 --variant maybe', 2, /maybe/),
      refused('flag rollback kept 9', 1, /9/),
      refused('flag history kept --limit x', 2, /--limit/),
      refused('flag explain kept --context plan', 2, /name=value/),
      refused('flag evaluations --from yesterday', 2, /from: /),
      refused('flag stale --days 40000', 2, /days: /),
    ]);
    expect(await json('flag', 'get kept')).toMatchObject({ version: 1 });
  });

  test('another tenant, by options in the place of the environment', async () => {
    const endpoint = cluster.members[2]!.httpUrl;
    const options = `--tenant acme --http-endpoint ${endpoint} --application own --environment TEST`;
    expect(await flag(`set alone --boolean ${options}`)).toBe('alone of own in test is at version 1\n');
    expect(await json('flag', `list ${options}`)).toMatchObject({
      items: [{ key: 'alone', tenant: 'acme' }],
    });
  });
});

describe('over TLS, with authentication on', () => {
  const authority = new TestAuthority();
  let files: CertificateFiles;
  let secured: Cluster;
  let reach: Env;

  beforeAll(async () => {
    files = new CertificateFiles();
    const served = files.writePair('server', authority.issue('server'));
    const ca = files.write('ca.pem', authority.cert);
    const flags = [`--cert-file=${served.cert}`, `--key-file=${served.key}`, '--bcrypt-cost=4'];
    secured = await Cluster.create(1, flags, 'https');
    const [member] = secured.members;
    // Members of a cluster of one talk to nobody.
    const plain = { ...member!, peerUrl: member!.peerUrl.replace('https', 'http') };
    secured.members[0] = plain;
    await secured.startAll();
    await plain.process!.logged('the configuration service is served');
    reach = { CONCLAVE_HTTP_ENDPOINT: plain.httpUrl, CONCLAVE_CACERT: ca };
    using client = new KvClient({ endpoints: [plain.clientUrl], tls: { ca: Buffer.from(authority.cert) } });
    await client.auth.userAdd({ name: 'root', password: 'pw' });
    await client.auth.roleAdd('root');
    await client.auth.userGrantRole({ user: 'root', role: 'root' });
    await client.auth.userAdd({ name: 'ada', password: 'pw' });
    await client.auth.enable();
  });
  afterAll(async () => {
    await secured?.destroy();
    files[Symbol.dispose]();
  });

  test('commands show who they are by their options, or by the environment', async () => {
    const root = { env: { ...reach, CONCLAVE_USER: 'root', CONCLAVE_PASSWORD: 'pw' } };
    expect(await config('set k 1', root)).toBe('k of pay in production is at version 1\n');
    const named = { env: { ...reach, CONCLAVE_USER: '', CONCLAVE_CACERT: '' } };
    const ca = reach['CONCLAVE_CACERT']!;
    expect(await config(`get k --user root:pw --cacert ${ca}`, named)).toBe('1\n');
    await Promise.all([
      refused('config get k', 1, /Authentication required/, { env: { ...reach, CONCLAVE_USER: '' } }),
      refused('config get k --user root --password wrong', 1, /invalid user ID or password/, { env: reach }),
      refused('config get k --user ada --password pw', 1, /ada may not read/, { env: reach }),
    ]);
    const untrusted = await conclave(['config', 'get', 'k'], { env: { ...reach, CONCLAVE_CACERT: '' } });
    expect(untrusted).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/certificate/) });
  });
});

test('every command and every option of the configuration service was called', async () => {
  const root = program({} as CliIo);
  const groups = root.commands.filter((command) => ['config', 'env', 'app', 'flag'].includes(command.name()));
  expect(groups).toHaveLength(4);
  expect(groups.flatMap((group) => untriedWithin([group.name()], group))).toEqual([]);
  // So that the list of those that are excused stays true.
  expect(await readFile(join(repositoryRoot(), 'src/cli/config-watch.ts'), 'utf8')).toContain(
    "command('watch')",
  );
});

function untriedWithin(names: readonly string[], group: Command): string[] {
  const ofCommands = group.commands.flatMap((command) => untriedWithin([...names, command.name()], command));
  return [...untried(names, group), ...ofCommands];
}

/** What of a command no test of this file has called. */
function untried(names: readonly string[], command: Command): string[] {
  const name = names.join(' ');
  if (ELSEWHERE.includes(name)) return [];
  const calls = called.filter((words) => names.every((word, at) => words[at] === word));
  const unused = command.options.flatMap(({ long }) =>
    long === undefined || calls.some((words) => words.includes(long)) ? [] : [`${name} ${long}`],
  );
  return calls.length === 0 ? [name] : unused;
}
