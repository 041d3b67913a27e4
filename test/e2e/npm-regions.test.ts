import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import type { MemberEntry } from '../../src/client/types.ts';
import { eventually } from '../support/eventually.ts';
import { repositoryRoot } from '../support/repository-root.ts';

/** `npm run regions`, as a person runs it, at other ports. */

const PROGRAM = join(repositoryRoot(), 'dist/cluster/regions.js');
/** As a terminal or a service manager would give it; the members must hear of it from the launcher alone. */
const INTERRUPT = 'SIGINT';

let directory: string;
let ports: readonly number[];
let running: ChildProcess | null;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-run-regions-'));
  ports = await freePorts(18);
  running = null;
});
afterEach(async () => {
  if (running !== null && running.exitCode === null && running.signalCode === null) {
    running.kill('SIGTERM');
    await once(running, 'exit');
  }
  await rm(directory, { recursive: true });
});

class Launcher {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #waiters: (() => void)[] = [];
  output = '';

  constructor(...more: readonly string[]) {
    const list = (from: number): string => ports.slice(from, from + 6).join(',');
    const flags = [`--client-ports=${list(0)}`, `--peer-ports=${list(6)}`, `--http-ports=${list(12)}`];
    const data = `--data-dir=${join(directory, 'data')}`;
    this.#child = spawn(process.execPath, [PROGRAM, data, ...flags, ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running = this.#child;
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream!.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
        for (const wake of this.#waiters.splice(0)) wake();
      });
    }
    this.#ended = once(this.#child, 'close').then(([code]) => code as number | null);
  }

  /** Resolves when the output contains a match. @throws Error when the program ends first */
  async shown(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.output);
      if (found !== null) return found;
      const more = new Promise<null>((resolve) => this.#waiters.push(() => resolve(null)));
      const code = await Promise.race([more, this.#ended.then((status) => `${status}`)]);
      if (code !== null) throw new Error(`ended with ${code} before ${pattern}:\n${this.output}`);
    }
  }

  async end(): Promise<number | null> {
    this.#child.kill(INTERRUPT);
    return this.#ended;
  }

  async exit(): Promise<number | null> {
    return this.#ended;
  }
}

/** Processes whose command line names this test's directory. */
async function leftOvers(): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)('ps', ['-eo', 'pid,args']);
  return stdout.split('\n').filter((line) => line.includes(directory));
}

function clientAt(member: number): KvClient {
  return new KvClient({ endpoints: [`127.0.0.1:${ports[member]}`], timeoutMs: 30_000 });
}

test('six members in three regions start, serve, are shown, stop at Ctrl-C and are found again', async () => {
  const first = new Launcher('--round-trips=a-b=6,a-c=14,b-c=8');
  await first.shown(/^Ready after/m);
  using inA = clientAt(0);
  using inC = clientAt(5);
  const { header } = await inA.put({ key: 'greeting', value: 'hello' });
  const { kvs } = await inC.range({ key: 'greeting' });
  expect(kvs.map(({ value, modRevision }) => [value.toString(), modRevision])).toEqual([
    ['hello', header.revision],
  ]);
  // A member tells its name once it is one.
  let members: readonly MemberEntry[] = [];
  await eventually('every member has its name', async () => {
    ({ members } = await inC.memberList());
    return members.every(({ name }) => name !== '');
  });
  expect(members.map(({ name, isLearner }) => `${name} ${isLearner}`).toSorted()).toEqual([
    'n1 false',
    'n2 false',
    'n3 false',
    'n4 false',
    'n5 false',
    'n6 true',
  ]);
  // Members tell each other the proxies' addresses.
  const peerUrls = members.toSorted((left, right) => (left.name < right.name ? -1 : 1));
  expect(peerUrls.flatMap((member) => member.peerUrls)).toEqual(
    ports.slice(6, 12).map((port) => `http://127.0.0.1:${port}`),
  );
  await first.shown(/^n\d in region \w leads/m);
  await first.shown(/^c +n6 +learner +\d+ +\d+ +[\d.]+ +[\d.]+ +[\d.]+ +\d+ ms$/m);
  expect(await first.end()).toBe(0);
  expect(first.output).toContain('Stopped. The data is kept.');
  expect(await leftOvers()).toEqual([]);

  const second = new Launcher('--round-trips=a-b=6,a-c=14,b-c=8');
  await second.shown(/^Ready after/m);
  const again = await inC.range({ key: 'greeting' });
  expect(again.kvs.map(({ modRevision }) => modRevision)).toEqual([header.revision]);
  expect(await second.end()).toBe(0);
  expect(await leftOvers()).toEqual([]);
});

test.each([
  ['client', 2, 'n3'],
  ['peer', 10, 'n5'],
  ['http', 12, 'n1'],
] as const)('a taken %s port is named, and nothing is left running', async (use, at, name) => {
  const other = createServer().listen(ports[at], '127.0.0.1');
  await once(other, 'listening');
  const launcher = new Launcher();
  expect(await launcher.exit()).toBe(1);
  expect(launcher.output).toContain(
    `error: port ${ports[at]} (${use} port of ${name}) is in use by another process`,
  );
  expect(await leftOvers()).toEqual([]);
  other.close();
});

test('round trips that are none are refused in one line', async () => {
  const launcher = new Launcher('--round-trips=a-b=fast');
  expect(await launcher.exit()).toBe(1);
  expect(launcher.output).toMatch(/^error: round trips: 'a-b=fast' is not one of a-b, a-c, b-c/);
});
