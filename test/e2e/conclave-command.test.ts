import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster } from '../support/cluster.ts';
import { type CommandResult, run } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';
import { leaderOf } from '../support/leader.ts';

const MAIN = join(import.meta.dirname, '../../dist/src/main.js');

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start(3);
});
afterAll(async () => {
  await cluster.destroy();
});

/** The command as a person runs it, with the endpoints in the environment. */
function conclave(...words: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, [MAIN, ...words], { CONCLAVE_ENDPOINTS: cluster.endpoints });
}

function conclaveWithInput(input: string, ...words: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, [MAIN, ...words], { CONCLAVE_ENDPOINTS: cluster.endpoints }, input);
}

async function json<T>(...words: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await conclave(...words, '--write-out=json');
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as T;
}

const done = (stdout: string): CommandResult => ({ code: 0, stdout, stderr: '' });

test('put, get, delete: one key, a value from standard input, prefixes', async () => {
  expect(await conclave('kv', 'put', 'greeting', 'hello')).toEqual(done('OK\n'));
  expect(await conclave('kv', 'get', 'greeting')).toEqual(done('greeting\nhello\n'));
  expect(await conclaveWithInput('from\nstdin', 'kv', 'put', 'app/config')).toEqual(done('OK\n'));
  expect(await conclave('kv', 'put', 'app/other', '--', '-5')).toEqual(done('OK\n'));
  expect(await conclave('kv', 'get', '--prefix', 'app/')).toEqual(
    done('app/config\nfrom\nstdin\napp/other\n-5\n'),
  );
  expect(await conclave('kv', 'put', 'greeting', 'bye', '--prev-kv')).toEqual(done('OK\ngreeting\nhello\n'));
  expect(await conclave('kv', 'del', '--prefix', 'app/')).toEqual(done('2\n'));
  expect(await conclave('kv', 'get', '--prefix', 'app/')).toEqual(done(''));
});

test('a transaction from standard input takes the right branch', async () => {
  const text = 'create("lock") = "0"\n\nput lock me\n\nget lock\n';
  expect(await conclaveWithInput(text, 'kv', 'txn')).toEqual(done('SUCCESS\n\nOK\n'));
  expect(await conclaveWithInput(text, 'kv', 'txn')).toEqual(done('FAILURE\n\nlock\nme\n'));
  const file = join(cluster.directory, 'order.txn');
  await writeFile(file, 'value("lock") = "me"\n\ndel lock\n\n');
  expect(await conclave('kv', 'txn', file)).toEqual(done('SUCCESS\n\n1\n'));
});

test('a watch prints every change until Ctrl-C, across the death of a leader', async () => {
  await conclave('kv', 'put', 'watched/0', 'x');
  const { header } = await json<{ header: { revision: number } }>('kv', 'get', 'watched/0');
  const watch = watching('--prefix', 'watched/', '--rev', String(header.revision));
  try {
    await watch.printed('PUT\nwatched/0\nx\n');
    const leader = await leaderOf(cluster);
    await leader.process?.stop('SIGKILL');
    await eventually('a write', async () => (await conclave('kv', 'put', 'watched/1', 'y')).code === 0);
    await conclave('kv', 'del', 'watched/0');
    await watch.printed('PUT\nwatched/1\ny\nDELETE\nwatched/0\n');
    await cluster.launch(leader).ready();
  } finally {
    expect(await watch.interrupt()).toBe(130);
  }
});

test('status shows one leader and who does not answer, and fails for it', async () => {
  const status = await conclave('status');
  expect(status.code, status.stderr).toBe(0);
  expect(status.stdout).toMatch(
    /^ENDPOINT +ID +VERSION +DB SIZE +ROLE +TERM +INDEX +APPLIED +REGION +LAG +ROUND TRIPS +AGE +ERRORS *\n/,
  );
  expect(status.stdout.match(/ leader /g)).toHaveLength(1);
  expect(status.stdout.match(/ follower /g)).toHaveLength(2);
  expect(await json<unknown[]>('status', '--cluster')).toHaveLength(3);
  const member = cluster.members[2]!;
  await member.process?.stop();
  const without = await conclave('status');
  expect(without.code).toBe(1);
  expect(without.stderr).toBe('error: 1 of 3 endpoints are not well\n');
  await cluster.launch(member).ready();
});

test('members are listed, added with instructions, promoted and removed', async () => {
  const list = await conclave('member', 'list');
  for (const { name, peerUrl, clientUrl } of cluster.members) {
    expect(list.stdout).toMatch(new RegExp(`${name} .*${peerUrl} .*${clientUrl}`));
  }
  const place = await cluster.addPlace('n4');
  const added = await conclave('member', 'add', 'n4', '--learner', '--peer-urls', place.peerUrl);
  expect(added.code, added.stderr).toBe(0);
  expect(added.stdout).toContain('--initial-cluster-state existing');
  const id = /Member ([0-9a-f]+) added/.exec(added.stdout)![1]!;
  const initialCluster = /--initial-cluster (\S+)/.exec(added.stdout)![1]!;
  await cluster.launch(place, { initialCluster, state: 'existing' }).ready();
  await eventually('promotion', async () => (await conclave('member', 'promote', id)).code === 0);
  expect((await conclave('member', 'remove', id)).stdout).toContain(`Member ${id} removed.`);
  expect((await conclave('member', 'list')).stdout).not.toContain('n4');
  // It learns of its removal and ends by itself.
  expect(await place.process!.exit()).toBe(1);
  cluster.members.pop();
});

test('a backup is saved, inspected, restored into a new cluster, and its directory verified', async () => {
  await conclave('kv', 'put', 'precious', 'data');
  const file = join(cluster.directory, 'backup.db');
  const saved = await conclave('snapshot', 'save', file);
  expect(saved.code, saved.stderr).toBe(0);
  expect(saved.stdout).toMatch(/^Saved .* to .*backup\.db\n$/);
  const { revision } = await json<{ revision: number }>('snapshot', 'status', file);

  const restored = await Cluster.create(3);
  try {
    const initialCluster = restored.members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join();
    for (const { name, dataDir, peerUrl } of restored.members) {
      const place = [`--data-dir=${dataDir}`, `--name=${name}`, `--initial-advertise-peer-urls=${peerUrl}`];
      const result = await conclave(
        'snapshot',
        'restore',
        file,
        `--initial-cluster=${initialCluster}`,
        ...place,
      );
      expect(result.code, result.stderr).toBe(0);
      const verified = await conclave('verify', dataDir);
      expect(verified.code, verified.stderr).toBe(0);
      expect(verified.stdout).toContain('everything is whole');
    }
    await restored.startAll();
    const endpoints = ['--endpoints', restored.endpoints];
    expect((await conclave('kv', 'get', 'precious', ...endpoints)).stdout).toBe('precious\ndata\n');
    const put = await json<{ header: { revision: number } }>('kv', 'put', 'precious', 'more', ...endpoints);
    expect(put.header.revision).toBeGreaterThan(revision + 1_000_000_000);

    const [member] = restored.members;
    const running = await conclave('verify', member!.dataDir);
    expect(running.code).toBe(1);
    expect(running.stderr).toContain('is in use by another process; stop the member first');
    await restored.stopAll();
    expect((await conclave('verify', member!.dataDir)).code).toBe(0);
  } finally {
    await restored.destroy();
  }
});

test('a damaged backup is refused, and nothing is made of it', async () => {
  const file = join(cluster.directory, 'damaged.db');
  expect((await conclave('snapshot', 'save', file)).code).toBe(0);
  const content = await readFile(file);
  content[Math.floor(content.length / 2)]! ^= 1;
  await writeFile(file, content);
  for (const words of [
    ['snapshot', 'status', file],
    ['snapshot', 'restore', file, '--data-dir', join(cluster.directory, 'never')],
  ]) {
    const result = await conclave(...words);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('error: the snapshot is damaged');
  }
});

test('wrong words and absent servers are explained, with the exit codes that --help names', async () => {
  const unknown = await conclave('kv', 'gett', 'x');
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain("unknown command 'gett'");
  const nobody = await conclave('kv', 'get', 'x', '--endpoints', '127.0.0.1:1', '--command-timeout', '1');
  expect(nobody.code).toBe(1);
  expect(nobody.stderr).toContain('Is the cluster running? --endpoints says where it is.');
  const refused = await conclave('kv', 'put', 'x', 'y', '--lease', '4711');
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('etcdserver: requested lease not found');
  const help = await conclave('--help');
  expect(help.stdout).toContain('Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.');
});

interface Watching {
  /** Resolves when the output contains `text`. */
  printed(text: string): Promise<void>;
  /** Ctrl-C. @returns the exit code */
  interrupt(): Promise<number>;
}

function watching(...words: readonly string[]): Watching {
  const child: ChildProcess = spawn(process.execPath, [MAIN, 'kv', 'watch', ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, CONCLAVE_ENDPOINTS: cluster.endpoints },
  });
  let output = '';
  child.stdout?.on('data', (chunk) => (output += chunk));
  return {
    printed: async (text) => void (await eventually(`"${text}" in ${output}`, () => output.includes(text))),
    interrupt: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGINT');
      const [code] = (await exited) as [number];
      return code;
    },
  };
}
