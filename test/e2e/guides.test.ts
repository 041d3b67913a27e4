import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EXPERIMENTAL_PREFIX, FIXED_FLAGS, SERVER_FLAGS, UNSUPPORTED_FLAGS } from '../../src/option-flags.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { skipWithoutEtcdctl } from '../support/etcdctl.ts';
import { type Block, blocksOf, GuideShell } from '../support/guide.ts';
import { skipWithoutOpenssl } from '../support/openssl.ts';
import { repositoryRoot } from '../support/repository-root.ts';
import { etcdBinary } from './differential/server.ts';

const hasCurl = spawnSync('curl', ['--version']).status === 0;
const BINARY = etcdBinary();
const inCi = process.env['CI'] === 'true';
const skip = !inCi && (skipWithoutEtcdctl || skipWithoutOpenssl || !hasCurl);
const GUIDES = ['docs/migrating-from-etcd.md', 'docs/security.md'] as const;

let shell: GuideShell;
beforeEach(() => {
  shell = new GuideShell(BINARY === null ? {} : { etcd: BINARY });
});
afterEach(async () => {
  await shell.close();
});

describe.skipIf(skip)('guides do what they say (needs Debian etcd-client, openssl and curl)', () => {
  test.skipIf(BINARY === null && !inCi)('moving from etcd (needs a real etcd: ETCD_BIN)', async () => {
    expect(await shell.run('docs/migrating-from-etcd.md')).toBeGreaterThan(15);
  });

  test('security', async () => {
    expect(await shell.run('docs/security.md')).toBeGreaterThan(15);
  });

  test('what the README and the operations guide show of a running cluster', async () => {
    const cluster = await Cluster.start(3, ['--bcrypt-cost=4']);
    const stopped = await Cluster.start(1);
    const [{ httpUrl }] = cluster.members as [ClusterMember];
    const reach = { CONCLAVE_ENDPOINTS: cluster.endpoints, CONCLAVE_HTTP_ENDPOINT: httpUrl };
    const user = new GuideShell({}, reach);
    try {
      for (const [i, { clientUrl }] of cluster.members.entries()) {
        user.usePort([2379, 22379, 32379][i]!, Number(new URL(clientUrl).port));
      }
      user.usePort(8080, Number(new URL(httpUrl).port));
      await stopped.stopAll();
      await cp(stopped.members[0]!.dataDir, join(user.directory, '.data/n1'), { recursive: true });
      const ofUse = ({ text }: Block): boolean => /^(etcdctl|conclave) /m.test(text);
      expect(await user.run('README.md', { chosen: ofUse })).toBe(3);
      expect(await user.run('docs/operations.md', { chosen: ofUse, input: 'secret' })).toBe(1);
    } finally {
      await user.close();
      await cluster.destroy();
      await stopped.destroy();
    }
  });
});

test('the flags that the guide to moving names are those there are, and what it says of them is so', () => {
  const text = readFileSync(join(repositoryRoot(), 'docs/migrating-from-etcd.md'), 'utf8');
  const table = text.slice(text.indexOf('\n## Flags\n'), text.indexOf('\n## Metrics'));
  const rows = table.split('\n').filter((line) => line.startsWith('| `--'));
  expect(rows.length).toBeGreaterThan(15);
  const ours = new Set(SERVER_FLAGS.map(({ name }) => name));
  const named = new Set<string>();
  for (const row of rows) {
    const [, left = '', right = ''] = row.split('|');
    for (const flag of flagsIn(left)) {
      named.add(flag);
      if (flag.startsWith(EXPERIMENTAL_PREFIX)) continue;
      const isRefused = UNSUPPORTED_FLAGS.has(flag) || FIXED_FLAGS.has(flag);
      expect(ours.has(flag) || isRefused, flag).toBe(true);
      if (right.startsWith(' the same')) expect(ours.has(flag), flag).toBe(true);
      if (/refused|always/.test(right.split(';')[0]!) && !ours.has(flag)) expect(isRefused, flag).toBe(true);
    }
    for (const flag of flagsIn(right)) expect(ours.has(flag) || FIXED_FLAGS.has(flag), flag).toBe(true);
  }
  if (BINARY === null) return;
  // What is not named is the same.
  const help = spawnSync(BINARY, ['--help'], { encoding: 'utf8' });
  for (const [, flag = ''] of `${help.stdout}${help.stderr}`.matchAll(/^ {2}--([a-z0-9-]+)/gm)) {
    if (flag.startsWith(EXPERIMENTAL_PREFIX) || ['version', 'help'].includes(flag)) continue;
    expect(named.has(flag) || ours.has(flag), flag).toBe(true);
  }
});

test('the metrics that the guides name are measured', () => {
  const directory = join(repositoryRoot(), 'src/api/http');
  const sources = readdirSync(directory)
    .filter((name) => name.endsWith('metrics.ts'))
    .map((name) => readFileSync(join(directory, name), 'utf8'));
  const moving = readFileSync(join(repositoryRoot(), 'docs/migrating-from-etcd.md'), 'utf8');
  const unchanged = moving.slice(
    moving.indexOf('\n## Metrics'),
    moving.indexOf('| etcd | Conclave |', moving.indexOf('\n## Metrics')),
  );
  const rest = ['security', 'operations', 'migrating-from-etcd', 'troubleshooting', 'change-procedure'].map(
    (name) => readFileSync(join(repositoryRoot(), `docs/${name}.md`), 'utf8'),
  );
  const named = new Set([
    ...[...unchanged.matchAll(/`(etcd_\w+)`/g)].map(([, name]) => name!),
    ...[...rest.join('\n').matchAll(/`(conclave_[a-z_]+[a-z])\b(?!…)/g)].map(([, name]) => name!),
  ]);
  expect(named.size).toBeGreaterThan(35);
  for (const name of named) expect(sources.join('\n'), name).toContain(`'${name}'`);
});

function flagsIn(text: string): readonly string[] {
  return [...text.matchAll(/`--([a-z0-9-]+)/g)]
    .map(([, flag]) => flag!)
    .filter((flag) => !flag.endsWith('-'));
}

test.each(GUIDES)('%s has no commands that are not run', (guide) => {
  const blocks = blocksOf(readFileSync(join(repositoryRoot(), guide), 'utf8'));
  expect(blocks.length).toBeGreaterThan(10);
  for (const { language, line } of blocks) {
    expect(['sh', 'sh fails', 'text'], `line ${line}`).toContain(language);
  }
});
