import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inRestWorld, type RestWorld, type RestWorldOptions } from '../api/http/rest/rest-world.ts';
import { type Run, type RunInput, run } from './captured-io.ts';

/** The commands of the configuration service against the service itself: its REST face over a store in memory. */
interface Commands {
  /** Runs `conclave config` for `pay` in PROD, and returns what it printed. */
  readonly config: (words: string, input?: RunInput) => Promise<string>;
  /** Any command, in words. */
  readonly conclave: (words: readonly string[], input?: RunInput) => Promise<Run>;
  readonly directory: string;
  readonly world: RestWorld;
}

async function withCommands(
  work: (commands: Commands) => Promise<void>,
  options: RestWorldOptions = {},
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-cli-'));
  try {
    await inRestWorld(async (world) => {
      await world.app.listen({ port: 0, host: '127.0.0.1' });
      const { port } = world.app.server.address() as AddressInfo;
      const env = { CONCLAVE_HTTP_ENDPOINT: `http://127.0.0.1:${port}`, CONCLAVE_USER: 'ann' };
      const conclave = async (words: readonly string[], input: RunInput = {}): Promise<Run> =>
        run(words, { ...input, env: { ...env, ...input.env } });
      const config = async (words: string, input?: RunInput): Promise<string> => {
        const scope = ['--application', 'pay', '--environment', 'PROD'];
        const { code, out, err } = await conclave(['config', ...scope, ...words.split(' ')], input);
        expect({ words, code, err }).toEqual({ words, code: 0, err: '' });
        return out;
      };
      await work({ config, conclave, directory, world });
    }, options);
  } finally {
    await rm(directory, { recursive: true });
  }
}

const lines = (text: string): string[] => text.trimEnd().split('\n');

test('a configuration is made, read, changed, rolled back, deleted and brought back', async () => {
  await withCommands(async ({ config, conclave }) => {
    expect(await config('set db.pool.max 10 --reason first')).toBe(
      'db.pool.max of pay in production is at version 1\n',
    );
    expect(await config('get db.pool.max')).toBe('10\n');
    expect(JSON.parse(await config('get db.pool.max --json'))).toMatchObject({
      valueType: 'NUMBER',
      valueSubtype: 'INTEGER',
      version: 1,
    });
    await config('set db.pool.max 20 --reason load --tag a b');
    expect(await config('rollback db.pool.max 1 --reason worse')).toBe(
      'db.pool.max of pay in production is as it was in version 1, at version 3\n',
    );
    expect(await config('get db.pool.max')).toBe('10\n');
    expect(lines(await config('history db.pool.max')).map((line) => line.split(/ {2,}/))).toEqual([
      ['VERSION', 'AT', 'BY', 'VALUE', 'REASON'],
      ['3', '2026-03-01 00:00:00', 'ann', '10', 'worse'],
      ['2', '2026-03-01 00:00:00', 'ann', '20', 'load'],
      ['1', '2026-03-01 00:00:00', 'ann', '10', 'first'],
    ]);
    expect(lines(await config('history db.pool.max --limit 1'))).toHaveLength(2);
    expect(await config('delete db.pool.max --reason gone')).toBe('db.pool.max is deleted\n');
    const scope = ['--application', 'pay', '--environment', 'PROD'];
    expect(await conclave(['config', 'get', 'db.pool.max', ...scope])).toMatchObject({ code: 1, out: '' });
    expect(await config('get db.pool.max --default 7')).toBe('7\n');
    expect(lines(await config('history db.pool.max'))[1]).toContain('(deleted)');
    expect(await config('undelete db.pool.max')).toContain('is back, at version 5');
    expect(await config('get db.pool.max')).toBe('10\n');
  });
});

test('types are kept, guessed, or as they are told; a wrong value is refused with its field', async () => {
  await withCommands(async ({ config, conclave, directory }) => {
    await config('set n 12');
    await config('set t 12 --type string');
    await config('set b true');
    await config('set j {"a":[1]}');
    const typesOf = async (): Promise<string[]> =>
      JSON.parse(await config('list --json')).items.map(
        (item: { key: string; type: string }) => `${item.key} ${item.type}`,
      );
    expect(await typesOf()).toEqual(['b boolean', 'j json', 'n integer', 't string']);
    await config('set t 13');
    expect(await typesOf()).toContain('t string');
    const schema = join(directory, 'schema.json');
    await writeFile(schema, '{"type":"integer","maximum":100}');
    await config(`set n 99 --schema-file ${schema}`);
    const scope = ['--application', 'pay', '--environment', 'PROD'];
    const refused = await conclave(['config', 'set', 'n', '101', ...scope]);
    expect(refused.code).toBe(2);
    expect(refused.err).toMatch(/^error: value: .*100/);
    const invalid = await conclave(['config', 'validate', 'n', '101', ...scope]);
    expect(invalid.code).toBe(1);
    expect(invalid.out).toMatch(/^not valid\nerror: value: .*100/);
    expect(await config('validate n 100')).toBe('valid\n');
    const stale = await conclave(['config', 'set', 'n', '5', '--if-match', '1', ...scope]);
    expect(stale).toMatchObject({ code: 1 });
    expect(stale.err).toContain('If-Match');
  });
});

test('a secret is masked, unless it is to be revealed', async () => {
  await withCommands(async ({ config }) => {
    await config('set db.password --secret', { stdin: 'hunter2\n' });
    expect(await config('get db.password')).toBe('********\n');
    expect(await config('list')).not.toContain('hunter2');
    expect(await config('get db.password --reveal')).toBe('hunter2\n');
  });
});

test('versions and environments are compared and merged', async () => {
  await withCommands(async ({ config, conclave }) => {
    await config('set pool {"max":10,"old":1}');
    await config('set pool {"max":20,"min":1}');
    expect(await config('diff pool --from 1')).toBe(
      '- pool in production, version 1\n+ pool in production, version 2\n~ /max: 10 -> 20\n- /old: 1\n+ /min: 1\n',
    );
    expect(JSON.parse(await config('diff pool --from 1 --patch'))).toContainEqual({
      op: 'remove',
      path: '/old',
    });
    await conclave(['config', 'set', 'pool', '{"max":5}', '--application', 'pay', '--environment', 'TEST']);
    expect(lines(await config('diff --with TEST'))).toEqual([
      '~ pool',
      '    ~ /max: 20 -> 5',
      '    - /min: 1',
    ]);
    const scope = ['--application', 'pay', '--environment', 'PROD'];
    const merge = [
      'config',
      'merge',
      'pool',
      '--base',
      '1',
      '--value',
      '{"max":30,"old":1,"new":2}',
      ...scope,
    ];
    const conflict = await conclave(merge);
    expect(conflict.code).toBe(1);
    expect(lines(conflict.out)[0]).toBe('conflict at /max: it was 10, ours is 20, theirs 30');
    expect(await config('get pool')).toBe('{"max":20,"min":1}\n');
    expect(await conclave([...merge, '--strategy', 'theirs', '--dry-run'])).toMatchObject({ code: 0 });
    expect(await conclave([...merge, '--strategy', 'theirs'])).toMatchObject({ code: 0 });
    expect(JSON.parse(await config('get pool'))).toEqual({ max: 30, min: 1, new: 2 });
  });
});

test('what was exported is imported elsewhere, and promoted', async () => {
  await withCommands(async ({ config, conclave, directory }) => {
    const file = join(directory, 'pay.yaml');
    await writeFile(file, 'db:\n  pool:\n    max: 20\n  host: h\n');
    expect(await config(`import ${file} --shape nested --dry-run`)).toContain(
      'Nothing was changed; it would be: 2 created, 0 updated, 0 deleted, 0 as they were',
    );
    expect(await config(`import ${file} --shape nested`)).toBe(
      '2 created, 0 updated, 0 deleted, 0 as they were\n',
    );
    expect(await config(`import ${file} --shape nested`)).toBe(
      '0 created, 0 updated, 0 deleted, 2 as they were\n',
    );
    const dotenv = await config('export --format dotenv');
    expect(lines(dotenv).toSorted()).toEqual(['DB_HOST=h', 'DB_POOL_MAX=20']);
    const test = ['--application', 'pay', '--environment', 'TEST'];
    const imported = await conclave(['config', 'import', '-', '--format', 'dotenv', ...test], {
      stdin: dotenv,
    });
    expect(imported).toMatchObject({ code: 0, out: '2 created, 0 updated, 0 deleted, 0 as they were\n' });
    const wrong = await conclave(['config', 'import', '-', '--format', 'json', ...test], {
      stdin: '{"a b":1}',
    });
    expect(wrong.code).toBe(2);
    expect(wrong.err).toContain('a b');
    await config('set db.pool.max 30');
    const words = ['config', 'promote', '--application', 'pay', '--from', 'PROD', '--to', 'TEST'];
    expect((await conclave([...words, '--dry-run'])).out).toContain('Nothing was changed');
    expect(lines((await conclave(words)).out)).toEqual([
      '         KEY          BEFORE  AFTER',
      'updated  db.pool.max  20      30',
    ]);
    expect((await conclave(words)).out).toBe('Nothing is different\n');
  });
});

test('a long import is followed, and one that is refused says why', async () => {
  await withCommands(async ({ config, conclave, world }) => {
    const values = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`k${n}`, n]));
    const stdin = JSON.stringify(values);
    expect(await config('import - --format json', { stdin })).toContain('100 created');
    const answer = await world.app.inject({
      method: 'POST',
      url: '/api/v1/import?application=other&environment=TEST',
      headers: { 'content-type': 'application/json', accept: 'application/x-ndjson' },
      payload: stdin,
    });
    expect(answer.headers['content-type']).toBe('application/x-ndjson');
    const told = lines(answer.body).map((line) => JSON.parse(line));
    expect(told.slice(0, -1).map(({ progress }) => progress)).toEqual([
      { done: 40, total: 100 },
      { done: 80, total: 100 },
      { done: 100, total: 100 },
    ]);
    expect(told.at(-1)).toMatchObject({ created: 100, unchanged: 0 });
    await conclave(['env', 'lock', 'PROD']);
    const locked = await conclave(
      ['config', 'import', '-', '--format', 'json', '--application', 'pay', '--environment', 'PROD'],
      { stdin: '{"k1":2}' },
    );
    expect(locked).toMatchObject({ code: 1, out: '' });
    expect(locked.err).toContain('locked');
  });
});

test('a release is taken back whole', async () => {
  await withCommands(async ({ config }) => {
    await config('set a 1');
    await config('set a 2 --change-set r1');
    await config('set b 1 --change-set r1');
    expect(await config('rollback --of-change-set r1 --dry-run')).toContain('would be');
    await config('rollback --of-change-set r1');
    expect(await config('get a')).toBe('1\n');
    expect(await config('get b --default none')).toBe('none\n');
  });
});

test('environments are made, listed, locked and deleted; what they inherit shows through', async () => {
  await withCommands(async ({ config, conclave }) => {
    const env = async (...words: string[]): Promise<Run> => conclave(['env', ...words]);
    await config('set a 1');
    expect(
      await env('create', 'canary', '--parent', 'PROD', '--require-reason', '--reason', 'try'),
    ).toMatchObject({
      code: 0,
      out: expect.stringContaining('Inherits: production\n'),
    });
    const canary = ['--application', 'pay', '--environment', 'canary'];
    expect(await conclave(['config', 'get', 'a', ...canary])).toMatchObject({ code: 0, out: '1\n' });
    expect((await conclave(['config', 'set', 'a', '2', ...canary])).code).not.toBe(0);
    expect(await conclave(['config', 'set', 'a', '2', '--reason', 'so', ...canary])).toMatchObject({
      code: 0,
    });
    expect(lines((await env('list')).out).map((line) => line.split(/ {2,}/)[0])).toEqual([
      'NAME',
      'development',
      'test',
      'staging',
      'production',
      'canary',
    ]);
    expect((await env('lock', 'canary', '--reason', 'freeze')).out).toContain('Locked: yes');
    const locked = await conclave(['config', 'set', 'a', '3', '--reason', 'so', ...canary]);
    expect(locked).toMatchObject({ code: 1 });
    expect(locked.err).toContain('locked');
    expect((await env('unlock', 'canary', '--reason', 'thaw')).out).toContain('Locked: no');
    expect(
      (await env('update', 'canary', '--no-parent', '--no-require-reason', '--reason', 'x')).out,
    ).toContain('Inherits: nothing');
    expect(JSON.parse((await env('get', 'canary', '--json')).out)).toMatchObject({
      id: 'canary',
      parent: null,
      rules: { locked: false, reasonRequired: false },
    });
    await conclave(['config', 'delete', 'a', ...canary]);
    expect(await env('delete', 'canary')).toMatchObject({ code: 0, out: 'canary is deleted\n' });
    expect(await env('get', 'canary')).toMatchObject({ code: 1 });
  });
});

test('tenants do not see each other; who asks is recorded', async () => {
  await withCommands(
    async ({ config, conclave }) => {
      await config('set a 1');
      const scope = ['--application', 'pay', '--environment', 'PROD'];
      const other = await conclave(['config', 'get', 'a', ...scope, '--tenant', 'acme']);
      expect(other).toMatchObject({ code: 1 });
      const nobody = await conclave(['config', 'get', 'a', ...scope], { env: { CONCLAVE_USER: '' } });
      expect(nobody).toMatchObject({ code: 1 });
      expect(nobody.err).toContain('say who you are');
    },
    { identity: { requireIdentity: true } },
  );
});

test('which instances have a change is shown by key and by revision', async () => {
  await withCommands(async ({ config, conclave, world }) => {
    await config('set limit 1');
    const before = world.service.projection.revision;
    await config('set limit 2');
    const place = '/api/v1/instances/PROD/pay';
    await world.put(`${place}/pod-1`, { applied: before });
    await world.put(`${place}/pod-2`, { rejected: { revision: before + 1, reason: 'must be odd' } });
    const shown = await config('delivery limit');
    expect(shown.split('\n').map((line) => line.split(/\s{2,}/).slice(0, 2))).toEqual([
      ['STATE', 'INSTANCE'],
      ['rejected', 'production/pay/pod-2'],
      ['lagging', 'production/pay/pod-1'],
      [expect.stringMatching(/^revision \d+: 0 applied, 1 lagging, 1 rejected$/)],
      [''],
    ]);
    expect(shown).toContain('must be odd');
    const { revision } = JSON.parse(await config('delivery limit --json')) as { revision: number };
    expect(await config(`delivery --revision ${revision}`)).toBe(shown);
    expect(await conclave(['config', 'delivery'])).toMatchObject({ code: 2 });
    expect(await conclave(['config', 'delivery', 'limit', '--revision', '3'])).toMatchObject({ code: 2 });
  });
});
