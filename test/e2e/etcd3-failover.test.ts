import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Etcd3, EtcdLockFailedError, EtcdPermissionDeniedError, Range, STMConflictError } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { leaderOf } from '../support/leader.ts';
import { repositoryRoot } from '../support/repository-root.ts';

/** For each test, on a machine that is busy. */
const LIMIT = { timeout: 180_000 };
const DONE = 'the script is through';

/** The npm package etcd3 where something goes wrong: holders that vanish, members that die, keys fought over. */
describe('etcd3, with failures', LIMIT, () => {
  let cluster: Cluster;
  let client: Etcd3;

  beforeAll(async () => {
    cluster = await Cluster.start(3, ['--bcrypt-cost=4']);
    client = new Etcd3({ hosts: hostsOf(cluster) });
  });
  afterAll(async () => {
    client.close();
    await cluster.destroy();
  });

  test('a leader that vanishes is followed by the next candidate; observers hear of each', async () => {
    const observer = await client.election('captain', 5).observe();
    const heard: (string | undefined)[] = [];
    observer.on('change', (value) => heard.push(value));
    await using first = vanishing(
      `const campaign = await client.election('captain', 5).campaign('first').wait();
       await campaign.proclaim('first, renamed');`,
      cluster,
    );
    await eventually('the first, renamed', () => heard.at(-1) === 'first, renamed');
    await first.done();

    const second = client.election('captain', 5).campaign('second');
    const elected = second.wait();
    expect(await client.election('captain').leader()).toBe('first, renamed');
    // It resigns from nothing: its lease runs out.
    await first.kill();
    await elected;
    await eventually('the second', () => heard.at(-1) === 'second');
    expect(observer.leader()).toBe('second');
    await second.resign();
    await observer.cancel();
  });

  test('a lock whose holder vanishes is free once its lease is over, not before', async () => {
    await using holder = vanishing(
      `const lock = client.lock('door').ttl(5);
       await lock.acquire();
       console.log(await lock.leaseId());`,
      cluster,
    );
    await holder.done();
    const lease = holder.lines[0]!;
    const remaining = async (): Promise<number> =>
      Number((await client.leaseClient.leaseTimeToLive({ ID: lease, keys: false })).TTL);
    expect(await remaining()).toBeGreaterThanOrEqual(0);
    await expect(client.lock('door').acquire()).rejects.toThrow(EtcdLockFailedError);
    await holder.kill();
    const lock = client.lock('door');
    await eventually('the lock', () =>
      lock.acquire().then(
        () => true,
        (error: unknown) => {
          expect(error).toBeInstanceOf(EtcdLockFailedError);
          return false;
        },
      ),
    );
    expect(await remaining()).toBe(-1);
    await lock.release();
  });

  test('a transaction that loses too often says so, and changes nothing', async () => {
    await client.put('fought/a').value(1);
    await client.put('fought/b').value(1);
    let tries = 0;
    const losing = client.stm({ retries: 2 }).transact(async (tx) => {
      tries += 1;
      const a = await tx.get('fought/a').number();
      await client.put('fought/a').value(a! + 1);
      await tx.put('fought/b').value(100);
    });
    await expect(losing).rejects.toThrow(STMConflictError);
    expect(tries).toBe(3);
    expect(await client.get('fought/b').number()).toBe(1);

    // Both read both: one of the two must see what the other did.
    await client.put('fought/a').value(1);
    const drain = (key: string): Promise<void> =>
      client.stm({ retries: 50 }).transact(async (tx) => {
        const [a, b] = [await tx.get('fought/a').number(), await tx.get('fought/b').number()];
        if (a! + b! === 2) await tx.put(key).value(0);
      });
    await Promise.all([drain('fought/a'), drain('fought/b')]);
    const left = [await client.get('fought/a').number(), await client.get('fought/b').number()];
    expect(left.sort((x, y) => x! - y!)).toEqual([0, 1]);
  });

  test('each member may die in turn: reads, writes, a lease and a watch of one client go on', async () => {
    const lease = client.lease(10);
    let renewals = 0;
    lease.on('keepaliveSucceeded', () => {
      renewals += 1;
    });
    await lease.put('session').value('alive');
    const watcher = await client.watch().prefix('turn/').create();
    const seen: string[] = [];
    watcher.on('put', ({ key }) => seen.push(key.toString()));
    for (const [i, member] of cluster.members.entries()) {
      await member.process?.stop('SIGKILL');
      await leaderOf(cluster);
      renewals = 0;
      await eventually('a write', () => client.put(`turn/${i}`).value('x').exec());
      expect(await eventually('a read', () => client.get(`turn/${i}`).string())).toBe('x');
      await eventually('its event', () => seen.includes(`turn/${i}`));
      await eventually('a renewal', () => renewals > 0);
      await cluster.launch(member).ready();
    }
    expect([...new Set(seen)]).toEqual(['turn/0', 'turn/1', 'turn/2']);
    expect(await client.get('session').string()).toBe('alive');
    await lease.revoke();
    await watcher.cancel();
  });

  test('users, roles and permissions are made, changed and taken away', async () => {
    const role = client.role('crew');
    await role.create();
    await role.grant({ permission: 'Read', range: Range.prefix('crew/') });
    await client.user('root').create('root');
    const admin = client.role('root');
    await client.user('root').addRole(admin);
    await client.user('ann').create('first');
    await client.user('ann').addRole(role);
    await client.auth.authEnable();
    const hosts = hostsOf(cluster);
    const root = new Etcd3({ hosts, auth: { username: 'root', password: 'root' } });
    const ann = new Etcd3({ hosts, auth: { username: 'ann', password: 'first' } });
    try {
      await root.put('crew/a').value('1');
      expect(await ann.namespace('crew/').get('a').string()).toBe('1');
      await expect(ann.put('crew/a').value('2')).rejects.toThrow(EtcdPermissionDeniedError);
      await root.role('crew').grant({ permission: 'Write', range: Range.prefix('crew/w/') });
      await ann.put('crew/w/a').value('2');
      await root.role('crew').revoke({ permission: 'Write', range: Range.prefix('crew/w/') });
      await expect(ann.put('crew/w/a').value('3')).rejects.toThrow(EtcdPermissionDeniedError);
      expect((await root.user('ann').roles()).map(({ name }) => name)).toEqual(['crew']);
      await root.user('ann').removeRole('crew');
      await expect(ann.get('crew/a').string()).rejects.toThrow(EtcdPermissionDeniedError);
      expect((await root.getRoles()).map(({ name }) => name)).toContain('crew');
      await root.user('ann').delete();
      await root.role('crew').delete();
    } finally {
      await root.auth.authDisable();
      root.close();
      ann.close();
    }
  });
});

function hostsOf(cluster: Cluster): string[] {
  return cluster.members.map(({ clientUrl }) => clientUrl);
}

/**
 * Runs `script` with a `client` in a process of its own, which stays: to end it is the only way for a client of this
 * package to leave without a word, as its `close` lets renewals of leases go on.
 */
function vanishing(script: string, cluster: Cluster) {
  const source = `import { Etcd3 } from 'etcd3';
    const client = new Etcd3({ hosts: ${JSON.stringify(hostsOf(cluster))} });
    ${script}
    console.log('${DONE}');`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: repositoryRoot(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const exited = once(child, 'exit');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  return {
    lines,
    done: () => eventually('the end of the script', () => lines.includes(DONE)),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
