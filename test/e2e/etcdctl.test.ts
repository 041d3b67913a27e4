import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { etcdctl, run, skipWithoutEtcdctl } from '../support/etcdctl.ts';

const MAIN = join(import.meta.dirname, '../../dist/src/main.js');

interface EndpointStatus {
  readonly Endpoint: string;
  readonly Status: {
    readonly header: { readonly member_id: number; readonly revision: number };
    readonly leader: number;
    readonly version: string;
    readonly isLearner?: boolean;
  };
}

describe.skipIf(skipWithoutEtcdctl)('etcdctl (needs Debian etcd-client)', () => {
  let cluster: Cluster;
  const ctl = (...args: string[]) => etcdctl(cluster.endpoints, ...args);
  const first = (): ClusterMember => cluster.members[0]!;

  beforeAll(async () => {
    cluster = await Cluster.start(3);
  });
  afterAll(async () => {
    await cluster.destroy();
  });

  test('put and get, from every member', async () => {
    expect(await ctl('put', 'greeting', 'hello')).toMatchObject({ code: 0, stdout: 'OK\n' });
    for (const member of cluster.members) {
      const answer = await etcdctl(member.clientUrl, 'get', 'greeting');
      expect(answer.stdout).toBe('greeting\nhello\n');
    }
  });

  test('prefix, sorted, limited, keys-only and count-only ranges', async () => {
    for (const [key, value] of [
      ['fruit/b', '2'],
      ['fruit/a', '3'],
      ['fruit/c', '1'],
    ] as const) {
      await ctl('put', key, value);
    }
    expect((await ctl('get', '--prefix', 'fruit/')).stdout).toBe('fruit/a\n3\nfruit/b\n2\nfruit/c\n1\n');
    const byValue = await ctl(
      'get',
      '--prefix',
      'fruit/',
      '--sort-by=VALUE',
      '--order=DESCEND',
      '--print-value-only',
    );
    expect(byValue.stdout).toBe('3\n2\n1\n');
    expect((await ctl('get', '--prefix', 'fruit/', '--limit=1', '--keys-only')).stdout).toBe('fruit/a\n\n');
    const count = await ctl('get', '--prefix', 'fruit/', '--write-out=fields', '--limit=1');
    expect(count.stdout).toContain('"Count" : 3');
    expect(count.stdout).toContain('"More" : true');
    expect((await ctl('get', 'fruit/b', 'fruit/d', '--keys-only')).stdout).toBe('fruit/b\n\nfruit/c\n\n');
    expect((await ctl('get', 'fruit/', '--from-key', '--keys-only', '--limit=2')).stdout).toContain(
      'fruit/b',
    );
  });

  test('an old revision stays readable until it is compacted', async () => {
    await ctl('put', 'history', 'one');
    const revision = await currentRevision();
    await ctl('put', 'history', 'two');
    expect((await ctl('get', 'history', `--rev=${revision}`)).stdout).toBe('history\none\n');
    expect((await ctl('compact', String(revision + 1))).stdout).toContain(
      `compacted revision ${revision + 1}`,
    );
    const compacted = await ctl('get', 'history', `--rev=${revision}`);
    expect(compacted.code).not.toBe(0);
    expect(compacted.stderr).toContain('etcdserver: mvcc: required revision has been compacted');
    const future = await ctl('get', 'history', `--rev=${revision + 1_000_000}`);
    expect(future.stderr).toContain('etcdserver: mvcc: required revision is a future revision');
    await ctl('put', 'history', 'three');
    expect((await ctl('compact', '--physical', String(await currentRevision()))).code).toBe(0);
  });

  test('transactions take the right branch', async () => {
    await ctl('put', 'account', '10');
    const input = 'value("account") = "10"\n\nput account 20\nget account\n\nput account 0\n\n';
    const success = await run(
      'etcdctl',
      ['--endpoints', cluster.endpoints, 'txn'],
      { ETCDCTL_API: '3' },
      input,
    );
    expect(success.stdout).toBe('SUCCESS\n\nOK\n\naccount\n20\n');
    const failure = await run(
      'etcdctl',
      ['--endpoints', cluster.endpoints, 'txn'],
      { ETCDCTL_API: '3' },
      input,
    );
    expect(failure.stdout).toBe('FAILURE\n\nOK\n');
    expect((await ctl('get', 'account', '--print-value-only')).stdout).toBe('0\n');
  });

  test('delete answers how many, and with the previous values', async () => {
    await ctl('put', 'gone/1', 'a');
    await ctl('put', 'gone/2', 'b');
    expect((await ctl('del', '--prefix', '--prev-kv', 'gone/')).stdout).toBe('2\ngone/1\na\ngone/2\nb\n');
  });

  test('a watch sees puts and deletes, history first, previous values when asked', async () => {
    await ctl('put', 'watched', 'before');
    const revision = await currentRevision();
    const watch = watching(cluster.endpoints, 'watched', `--rev=${revision}`, '--prev-kv');
    try {
      await watch.sees(['PUT', 'watched', 'before']);
      await ctl('put', 'watched', 'after');
      await watch.sees(['PUT', 'watched', 'before', 'watched', 'after']);
      await ctl('del', 'watched');
      await watch.sees(['DELETE', 'watched', 'after', 'watched', '']);
    } finally {
      watch.stop();
    }
  });

  test('a watch goes on across the death of the leader, and misses nothing', async () => {
    const leader = await leaderMember();
    const watch = watching(cluster.endpoints, '--prefix', 'crossing/');
    try {
      await putUntilSeen(watch, 'crossing/start');
      await leader.process?.stop('SIGKILL');
      await eventually(async () => (await ctl('put', 'crossing/after', 'x')).code === 0);
      await watch.sees(['crossing/after', 'x']);
    } finally {
      watch.stop();
      await cluster.launch(leader).ready();
    }
  });

  test('an expired lease deletes its keys; a kept one lives on', async () => {
    const short = leaseId((await ctl('lease', 'grant', '2')).stdout);
    // Not so short that it ends before anybody keeps it, nor longer than the test then waits.
    const kept = leaseId((await ctl('lease', 'grant', '6')).stdout);
    const grantedMs = performance.now();
    await ctl('put', `--lease=${short}`, 'leased/short', 'x');
    await ctl('put', `--lease=${kept}`, 'leased/kept', 'x');
    const keepAlive = spawn('etcdctl', ['--endpoints', cluster.endpoints, 'lease', 'keep-alive', kept]);
    try {
      expect((await ctl('lease', 'timetolive', '--keys', kept)).stdout).toContain(
        'attached keys([leased/kept])',
      );
      await eventually(async () => (await ctl('get', 'leased/short')).stdout === '');
      await eventually(async () => performance.now() > grantedMs + 8_000);
      expect((await ctl('get', 'leased/kept', '--print-value-only')).stdout).toBe('x\n');
      expect((await ctl('lease', 'list')).stdout).toContain(kept);
      expect((await ctl('lease', 'list')).stdout).not.toContain(short);
    } finally {
      keepAlive.kill();
    }
    expect((await ctl('lease', 'revoke', kept)).stdout).toContain('revoked');
    expect((await ctl('get', 'leased/kept')).stdout).toBe('');
    expect((await ctl('lease', 'timetolive', kept)).stdout).toContain('already expired');
  });

  test('bad requests get etcd’s own words', async () => {
    const unknownLease = await ctl('put', '--lease=7777', 'k', 'v');
    expect(unknownLease.stderr).toContain('etcdserver: requested lease not found');
    const tooLarge = await run(
      'etcdctl',
      ['--endpoints', cluster.endpoints, 'put', 'large'],
      { ETCDCTL_API: '3' },
      'x'.repeat(1_600_000),
    );
    expect(tooLarge.code).not.toBe(0);
    expect(tooLarge.stderr).toContain('etcdserver: request is too large');
    const ops = Array.from({ length: 129 }, (_, i) => `put many/${i} x`).join('\n');
    const tooMany = await run(
      'etcdctl',
      ['--endpoints', cluster.endpoints, 'txn'],
      { ETCDCTL_API: '3' },
      `\n${ops}\n\n\n`,
    );
    expect(tooMany.stderr).toContain('etcdserver: too many operations in txn request');
    const twice = await run(
      'etcdctl',
      ['--endpoints', cluster.endpoints, 'txn'],
      { ETCDCTL_API: '3' },
      '\nput d 1\nput d 2\n\n\n',
    );
    expect(twice.stderr).toContain('etcdserver: duplicate key given in txn request');
    expect((await ctl('get', '--prefix', 'many/')).stdout).toBe('');
  });

  test('endpoint status, health and hashkv agree on every member', async () => {
    const statuses = await endpointStatuses();
    expect(statuses).toHaveLength(3);
    expect(new Set(statuses.map((status) => status.Status.leader)).size).toBe(1);
    expect(statuses.every((status) => status.Status.version === '3.6.0')).toBe(true);
    expect((await ctl('endpoint', 'health')).code).toBe(0);
    const revision = await currentRevision();
    await Promise.all(cluster.members.map((member) => etcdctl(member.clientUrl, 'get', 'x')));
    const hashes = await ctl('endpoint', 'hashkv', `--rev=${revision}`, '--write-out=json');
    const parsed = JSON.parse(hashes.stdout) as { readonly HashKV: { readonly hash: number } }[];
    expect(new Set(parsed.map((item) => item.HashKV.hash)).size).toBe(1);
  });

  test('move-leader, defrag and alarm list', async () => {
    const leader = await leaderMember();
    const statuses = await endpointStatuses();
    const target = statuses.find((status) => status.Endpoint !== leader.clientUrl)!;
    const id = BigInt(target.Status.header.member_id);
    const hex = (await ctl('member', 'list')).stdout
      .split('\n')
      .map((line) => line.split(', '))
      .find((fields) => fields[4] === target.Endpoint)?.[0];
    expect(hex).toBeDefined();
    const moved = await etcdctl(leader.clientUrl, 'move-leader', hex!);
    expect(moved.stdout).toContain('Leadership transferred');
    expect((await leaderMember()).clientUrl).toBe(target.Endpoint);
    expect(id).toBeGreaterThan(0n);
    const notLeader = await etcdctl(leader.clientUrl, 'move-leader', hex!);
    expect(notLeader.code).not.toBe(0);
    expect((await ctl('defrag')).stdout.match(/Finished defragmenting/g)).toHaveLength(3);
    expect((await ctl('alarm', 'list')).stdout).toBe('');
  });

  test('a snapshot of the cluster is restored into a new one', async () => {
    await ctl('put', 'saved', 'precious');
    const file = join(cluster.directory, 'backup.db');
    const saved = await etcdctl(first().clientUrl, 'snapshot', 'save', file);
    expect(saved).toMatchObject({ code: 0 });
    const restored = await Cluster.create(1);
    try {
      const place = restored.members[0]!;
      const result = await run(process.execPath, [
        MAIN,
        'snapshot',
        'restore',
        file,
        `--data-dir=${place.dataDir}`,
        `--name=${place.name}`,
        `--initial-cluster=${place.name}=${place.peerUrl}`,
        `--initial-advertise-peer-urls=${place.peerUrl}`,
      ]);
      expect(result, result.stderr).toMatchObject({ code: 0 });
      await restored.startAll();
      expect((await etcdctl(place.clientUrl, 'get', 'saved')).stdout).toBe('saved\nprecious\n');
      expect((await etcdctl(place.clientUrl, 'put', 'saved', 'more')).code).toBe(0);
    } finally {
      await restored.destroy();
    }
  });

  test('a member joins as learner, is promoted, serves, and is removed', async () => {
    const place = await cluster.addPlace('n4');
    const added = await etcdctl(
      first().clientUrl,
      'member',
      'add',
      'n4',
      '--learner',
      `--peer-urls=${place.peerUrl}`,
    );
    expect(added, added.stderr).toMatchObject({ code: 0 });
    const id = /Member +([0-9a-f]+) added/.exec(added.stdout)?.[1];
    expect(id).toBeDefined();
    await cluster.launch(place, { state: 'existing' }).ready();
    await eventually(async () => (await etcdctl(first().clientUrl, 'member', 'promote', id!)).code === 0);
    expect((await etcdctl(place.clientUrl, 'get', 'saved', '--print-value-only')).stdout).toBe('precious\n');
    const removed = await etcdctl(first().clientUrl, 'member', 'remove', id!);
    expect(removed.stdout).toContain('removed from cluster');
    expect((await etcdctl(first().clientUrl, 'member', 'list')).stdout).not.toContain('n4');
    await place.process?.stop('SIGKILL');
    cluster.members.pop();
  });

  test('check perf --load=s passes or says by how much it does not', async () => {
    const result = await etcdctl(
      first().clientUrl,
      'check',
      'perf',
      '--load=s',
      '--prefix=/perf/',
      '--auto-compact',
      '--auto-defrag',
    );
    process.stdout.write(`${result.stdout}\n${result.stderr}\n`);
    expect(result.stdout + result.stderr).toMatch(
      /Throughput is \d+ writes\/s|Throughput too low: \d+ writes\/s/,
    );
    // Its own keys, nobody else's.
    expect((await ctl('get', '/perf/', '--prefix', '--keys-only')).stdout).toBe('');
    expect((await ctl('get', 'saved', '--keys-only')).stdout).toBe('saved\n\n');
  });

  async function currentRevision(): Promise<number> {
    const answer = await ctl('get', 'no-such-key', '--write-out=json');
    return (JSON.parse(answer.stdout) as { header: { revision: number } }).header.revision;
  }

  async function endpointStatuses(): Promise<EndpointStatus[]> {
    const answer = await ctl('endpoint', 'status', '--write-out=json');
    return JSON.parse(answer.stdout) as EndpointStatus[];
  }

  async function leaderMember(): Promise<ClusterMember> {
    const statuses = await endpointStatuses();
    const leading = statuses.find((status) => status.Status.leader === status.Status.header.member_id);
    const found = cluster.members.find((member) => member.clientUrl === leading?.Endpoint);
    if (found === undefined) throw new Error(`nobody leads: ${JSON.stringify(statuses)}`);
    return found;
  }

  async function putUntilSeen(watch: Watching, key: string): Promise<void> {
    for (let i = 0; !watch.saw(key); i++) {
      await ctl('put', key, String(i));
      if (i > 50) throw new Error(`the watch never began: ${watch.output()}`);
    }
  }
});

interface Watching {
  /** Resolves when these lines were printed one after another. */
  sees(lines: readonly string[]): Promise<void>;
  saw(line: string): boolean;
  output(): string;
  stop(): void;
}

function watching(endpoints: string, ...args: readonly string[]): Watching {
  const child = spawn('etcdctl', ['--endpoints', endpoints, 'watch', ...args], {
    env: { ...process.env, ETCDCTL_API: '3' },
  });
  const lines: string[] = [];
  let wake: () => void = () => {};
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    wake();
  });
  const contains = (wanted: readonly string[]): boolean =>
    lines.some((_, start) => wanted.every((line, i) => lines[start + i] === line));
  return {
    async sees(wanted) {
      while (!contains(wanted)) await new Promise<void>((resolve) => (wake = resolve));
    },
    saw: (line) => lines.includes(line),
    output: () => lines.join('\n'),
    stop: () => child.kill(),
  };
}

function leaseId(output: string): string {
  const id = /lease ([0-9a-f]+) granted/.exec(output)?.[1];
  if (id === undefined) throw new Error(`no lease id in: ${output}`);
  return id;
}

/** Repeats until it holds; the test's own time limit ends it. */
async function eventually(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}
