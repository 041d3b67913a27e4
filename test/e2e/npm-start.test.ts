import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { hasEtcdctl, run } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';

/** What `npm start` runs, with the real server. Ports and directory are other than the defaults. */
const PROGRAM = join(import.meta.dirname, '../../dist/cluster/local.js');
const MAIN = join(import.meta.dirname, '../../dist/src/main.js');

let directory: string;
let flags: readonly string[];
let endpoints: readonly string[];
let child: ChildProcess | null = null;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-npm-start-'));
  const ports = await freePorts(9);
  const [clients, peers, https] = [ports.slice(0, 3), ports.slice(3, 6), ports.slice(6, 9)];
  endpoints = clients.map((port) => `127.0.0.1:${port}`);
  flags = [
    `--data-dir=${join(directory, 'data')}`,
    `--client-ports=${clients.join()}`,
    `--peer-ports=${peers.join()}`,
    `--http-ports=${https.join()}`,
  ];
});
afterEach(async () => {
  if (child !== null && child.exitCode === null) {
    // The members are asked to stop first: killed at once, it would leave them behind.
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }
  await rm(directory, { recursive: true });
});

test('it says how to use it, serves, stops at Ctrl-C, and finds its data when started again', async () => {
  const first = start();
  await first.said('Ctrl-C stops the cluster; the data stays.');
  const output = first.output();
  expect(output).toContain('Starting three members, data in ');
  expect(output).toMatch(/Ready after \d+\.\d s\./);
  expect(output).toContain(`export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=${endpoints.join()}`);
  expect(output).toContain(`export CONCLAVE_ENDPOINTS=${endpoints.join()}`);

  const commands = commandsIn(output);
  expect(await shell(commands, 'etcdctl put greeting hello', 'OK\n')).toBe(true);
  expect(await shell(commands, 'etcdctl get greeting', 'greeting\nhello\n')).toBe(true);
  expect(await shellOutput(commands, 'config set')).toBe(
    'db.pool.max of pay in development is at version 1\n',
  );
  expect(await shellOutput(commands, 'config list')).toContain('db.pool.max  integer  20');
  const status = await shellOutput(commands, 'main.js status');
  expect(status.match(/leader/g)).toHaveLength(1);
  expect(status.match(/follower/g)).toHaveLength(2);
  expect(await shellOutput(commands, 'metrics')).toContain('etcd_server_has_leader 1');

  expect(await first.interrupt()).toBe(0);
  expect(first.output()).toContain('Stopped. The data is kept.');
  expect(await answers()).toBe(false);
  expect((await readdir(join(directory, 'data'))).sort()).toEqual([
    'n1',
    'n1.log',
    'n2',
    'n2.log',
    'n3',
    'n3.log',
  ]);

  const second = start();
  await second.said('Ready after');
  using client = new KvClient({ endpoints });
  expect((await client.range({ key: 'greeting' })).kvs[0]?.value.toString()).toBe('hello');
  await client.put({ key: 'greeting', value: 'again' });
  expect(await second.interrupt()).toBe(0);
});

test('a port in use is named, and nothing is left running', async () => {
  const first = start();
  await first.said('Ready after');
  const again = await run(process.execPath, [PROGRAM, ...flags]);
  expect(again.code).toBe(1);
  expect(again.stderr).toMatch(/^error: port \d+ \(client port of n1\) is in use by another process/);
  using client = new KvClient({ endpoints });
  await client.put({ key: 'still', value: 'there' });
  expect(await first.interrupt()).toBe(0);
});

test('a member is killed by its process id, and the others go on; all of them seal secrets by the file of keys', async () => {
  const keys = join(directory, 'keys');
  await writeFile(keys, `k1:${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  const cluster = start('--secret-key-file', keys);
  await cluster.said('Ready after');
  const pid = Number(await readFile(join(directory, 'data/n2.pid'), 'utf8'));
  process.kill(pid, 'SIGKILL');
  await cluster.said('n2 ended (signal SIGKILL); 2 of 3 members run');
  expect((await readdir(join(directory, 'data'))).filter((name) => name.endsWith('.pid'))).toEqual([
    'n1.pid',
    'n3.pid',
  ]);
  const exports = commandsIn(cluster.output()).filter((line) => line.startsWith('export'));
  const set = `node ${MAIN} config set db.password --secret --application pay --environment DEV <<< s3cret`;
  const told = await run('bash', ['-c', [...exports, set].join('\n')]);
  expect(told).toMatchObject({ code: 0, stdout: 'db.password of pay in development is at version 1\n' });
  expect(await cluster.interrupt()).toBe(0);
});

test('--help explains the options, a wrong one is refused', async () => {
  const help = await run(process.execPath, [PROGRAM, '--help']);
  expect(help).toMatchObject({ code: 0, stderr: '' });
  expect(help.stdout).toContain('--client-ports A,B,C');
  const wrong = await run(process.execPath, [PROGRAM, '--client-ports=1,2']);
  expect(wrong).toMatchObject({ code: 1, stdout: '' });
  expect(wrong.stderr).toContain("--client-ports: '1,2' is not 3 ports");
});

interface Started {
  said(text: string): Promise<void>;
  output(): string;
  /** Ctrl-C. @returns the exit code */
  interrupt(): Promise<number>;
}

function start(...more: readonly string[]): Started {
  const started = spawn(process.execPath, [PROGRAM, ...flags, ...more], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child = started;
  let output = '';
  for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk) => (output += chunk));
  return {
    said: async (text) => {
      await eventually(`"${text}"`, () => {
        if (started.exitCode !== null) throw new Error(output);
        return output.includes(text);
      });
    },
    output: () => output,
    interrupt: async () => {
      // With all that it has said.
      const exited = once(started, 'close');
      started.kill('SIGINT');
      const [code] = (await exited) as [number];
      return code;
    },
  };
}

/** The lines that a person is told to try, indented in the output. */
function commandsIn(output: string): readonly string[] {
  return [...output.matchAll(/^ {2}((?:export|etcdctl|node|curl) .*)$/gm)].map((match) => match[1]!);
}

/** Runs the line as printed, after the lines that set variables; true when it says `expected`. */
async function shell(commands: readonly string[], line: string, expected: string): Promise<boolean> {
  expect(commands).toContain(line);
  if (line.startsWith('etcdctl') && !hasEtcdctl) {
    using client = new KvClient({ endpoints });
    if (line.includes(' put ')) await client.put({ key: 'greeting', value: 'hello' });
    return true;
  }
  return (await shellOutput(commands, line)) === expected;
}

async function shellOutput(commands: readonly string[], word: string): Promise<string> {
  const line = commands.find((command) => command.includes(word) && !command.startsWith('export'))!;
  const exports = commands.filter((command) => command.startsWith('export'));
  const result = await run('bash', ['-c', [...exports, line].join('\n')]);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  return result.stdout;
}

async function answers(): Promise<boolean> {
  using client = new KvClient({ endpoints, timeoutMs: 1_000 });
  return await client.memberList().then(
    () => true,
    () => false,
  );
}
