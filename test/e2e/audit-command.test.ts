import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster } from '../support/cluster.ts';
import { type CommandResult, run } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';

const MAIN = join(import.meta.dirname, '../../dist/src/main.js');

let directory: string;
let cluster: Cluster;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-keys-'));
  const keys = join(directory, 'keys');
  await writeFile(keys, `k1:${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  cluster = await Cluster.create(1, [`--secret-key-file=${keys}`]);
  const server = cluster.launch(cluster.members[0]!);
  await server.ready();
  await server.logged('the configuration service is served');
});
afterAll(async () => {
  await cluster.destroy();
  await rm(directory, { recursive: true, force: true });
});

/** The command as a person runs it, with everything in the environment. */
function conclave(...words: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, [MAIN, ...words], {
    CONCLAVE_ENDPOINTS: cluster.endpoints,
    CONCLAVE_HTTP_ENDPOINT: cluster.members[0]!.httpUrl,
    CONCLAVE_USER: 'ann',
    CONCLAVE_APPLICATION: 'pay',
    CONCLAVE_ENVIRONMENT: 'PROD',
  });
}

async function done(...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await conclave(...words);
  expect(code, stderr).toBe(0);
  return stdout;
}

test('who did what is listed and exported, and a record that was tampered with is found', async () => {
  await done('config', 'set', 'limit', '1', '--reason', 'first');
  await done('config', 'set', 'limit', '2');
  await done('config', 'set', 'token', 'hush', '--type', 'secret');
  expect(await done('config', 'get', 'token', '--reveal')).toContain('hush');

  const list = await done('audit', 'list');
  const operations = list.split('\n').map((line) => line.trim().split(/\s{2,}/)[2]);
  expect(operations[0]).toBe('OPERATION');
  expect(operations.slice(1)).toContain('reveal');
  expect(list).toContain('1 -> 2');
  expect(list).toContain('first');
  expect(list).not.toContain('hush');
  const { items } = JSON.parse(await done('audit', 'list', 'limit', '--limit', '1', '--json')) as {
    items: { id: string; actor: { name: string } }[];
  };
  expect(items.map(({ actor }) => actor.name)).toEqual(['ann']);

  const lines = (await done('audit', 'export', 'limit')).trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { id: string }).id)[0]).toBe(items[0]!.id);
  expect(lines).toHaveLength(2);
  const csv = await done('audit', 'export', '--format', 'csv', '--operation', 'reveal');
  expect(csv.trimEnd().split('\r\n')).toHaveLength(2);

  const whole = await eventually('all were sealed', async () => {
    const { code, stdout } = await conclave('audit', 'verify');
    return code === 0 && / 0 not yet: all as they were sealed/.test(stdout) ? stdout : undefined;
  });
  const anchor = /anchor: (\S+)/.exec(whole)![1]!;
  const seal = await fetch(`${cluster.members[0]!.httpUrl}/api/v1/audit/seal`);
  expect(await seal.json()).toMatchObject({ anchor });

  using client = new KvClient({ endpoints: [cluster.members[0]!.clientUrl] });
  const key = `/_conclave/change/${items[0]!.id}`;
  const { kvs } = await client.range({ key });
  await client.put({ key, value: kvs[0]!.value.toString().replace('"ann"', '"eve"') });
  const tampered = await conclave('audit', 'verify', '--anchor', anchor);
  expect(tampered.code).toBe(1);
  expect(tampered.stdout).toContain('changed');
  expect(tampered.stdout).toContain(items[0]!.id);
  expect(tampered.stderr).toContain('not as they were sealed');
});
