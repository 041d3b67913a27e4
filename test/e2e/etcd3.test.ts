import { Etcd3, EtcdLeaseInvalidError, EtcdLockFailedError, type IKeyValue, type Watcher } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { leaderOf } from '../support/leader.ts';

/** The npm package etcd3, as it is, against three real members. */
describe('etcd3', () => {
  let cluster: Cluster;
  let client: Etcd3;

  beforeAll(async () => {
    cluster = await Cluster.start(3);
    client = new Etcd3({ hosts: urls() });
  });
  afterAll(async () => {
    client.close();
    await cluster.destroy();
  });

  test('put and get, as text, number, JSON and bytes, from every member', async () => {
    await client.put('plain').value('text');
    await client.put('number').value(42);
    await client.put('json').value(JSON.stringify({ a: [1, 2] }));
    await client.put(Buffer.from([0, 255, 1])).value(Buffer.from([254, 0, 128]));
    for (const member of cluster.members) {
      const one = new Etcd3({ hosts: member.clientUrl });
      try {
        expect(await one.get('plain').string()).toBe('text');
        expect(await one.get('number').number()).toBe(42);
        expect(await one.get('json').json()).toEqual({ a: [1, 2] });
        expect(await one.get(Buffer.from([0, 255, 1])).buffer()).toEqual(Buffer.from([254, 0, 128]));
        expect(await one.get('absent').string()).toBeNull();
        expect(await one.get('plain').exists()).toBe(true);
        expect(await one.get('plain').serializable(true).string()).toBe('text');
      } finally {
        one.close();
      }
    }
  });

  test('versions and revisions of a key count its changes', async () => {
    await client.put('counted').value('1');
    const { kvs: first } = await client.get('counted').exec();
    const put = await client.put('counted').value('2').getPrevious();
    expect(put.value.toString()).toBe('1');
    const { kvs: second, header } = await client.get('counted').exec();
    expect(second[0]).toMatchObject({ create_revision: first[0]!.create_revision, version: '2' });
    expect(second[0]!.mod_revision).toBe(header.revision);
    expect(await client.get('counted').revision(first[0]!.mod_revision).string()).toBe('1');
    await client.put('counted').touch();
    expect((await client.get('counted').exec()).kvs[0]).toMatchObject({ version: '3' });
    expect(await client.get('counted').string()).toBe('2');
  });

  test('ranges by prefix and interval, sorted, limited and counted', async () => {
    for (const [key, value] of [
      ['tree/b', '2'],
      ['tree/a', '3'],
      ['tree/c', '1'],
    ] as const) {
      await client.put(key).value(value);
    }
    const tree = () => client.getAll().prefix('tree/');
    expect(await tree().strings()).toEqual({ 'tree/a': '3', 'tree/b': '2', 'tree/c': '1' });
    expect(await tree().keys()).toEqual(['tree/a', 'tree/b', 'tree/c']);
    expect(await tree().sort('Key', 'Descend').keys()).toEqual(['tree/c', 'tree/b', 'tree/a']);
    expect(await tree().sort('Value', 'Ascend').keys()).toEqual(['tree/c', 'tree/b', 'tree/a']);
    expect(await tree().sort('Create', 'Descend').limit(1).keys()).toEqual(['tree/c']);
    expect(await tree().count()).toBe(3);
    const limited = await tree().limit(2).exec();
    expect(limited).toMatchObject({ count: '3', more: true });
    expect(await client.getAll().inRange({ start: 'tree/a', end: 'tree/c' }).keys()).toEqual([
      'tree/a',
      'tree/b',
    ]);
    const { mod_revision: second } = (await client.get('tree/a').exec()).kvs[0]!;
    expect(await tree().minModRevision(second).keys()).toEqual(['tree/a', 'tree/c']);
    expect(await tree().maxModRevision(second).keys()).toEqual(['tree/a', 'tree/b']);
    expect(Object.keys(await client.getAll().all().strings())).toEqual(
      expect.arrayContaining(['plain', 'tree/a']),
    );
  });

  test('a transaction takes the branch that its comparisons choose', async () => {
    await client.put('stock').value('5');
    const buy = () =>
      client
        .if('stock', 'Value', '==', '5')
        .and('stock', 'Version', '>', 0)
        .then(client.put('stock').value('4'), client.get('stock'))
        .else(client.get('stock'), client.delete().key('nothing'))
        .commit();
    const bought = await buy();
    expect(bought.succeeded).toBe(true);
    expect(bought.responses[1]?.response_range.kvs[0]?.value.toString()).toBe('4');
    const refused = await buy();
    expect(refused.succeeded).toBe(false);
    expect(refused.responses[0]?.response_range.kvs[0]?.value.toString()).toBe('4');
    expect(refused.responses[1]?.response_delete_range.deleted).toBe('0');
    expect(await client.get('stock').string()).toBe('4');
    const created = await client.if('once', 'Create', '==', 0).then(client.put('once').value('x')).commit();
    const again = await client.if('once', 'Create', '==', 0).then(client.put('once').value('y')).commit();
    expect([created.succeeded, again.succeeded]).toEqual([true, false]);
  });

  test('software transactions conflict, repeat and add up', async () => {
    await client.put('account').value(0);
    const deposits = Array.from({ length: 5 }, () =>
      client.stm({ retries: 100 }).transact(async (tx) => {
        await tx.put('account').value((await tx.get('account').number())! + 1);
      }),
    );
    await Promise.all(deposits);
    expect(await client.get('account').number()).toBe(5);
  });

  test('keys are deleted one by one, by prefix and by range, and told when asked', async () => {
    for (const key of ['drop/1', 'drop/2', 'drop/3', 'drop/4', 'drop/5']) await client.put(key).value(key);
    expect(await client.delete().key('drop/1')).toMatchObject({ deleted: '1' });
    const previous = await client.delete().inRange({ start: 'drop/2', end: 'drop/4' }).getPrevious();
    expect(previous.map((kv) => kv.value.toString())).toEqual(['drop/2', 'drop/3']);
    expect(await client.delete().prefix('drop/')).toMatchObject({ deleted: '2' });
    expect(await client.getAll().prefix('drop/').count()).toBe(0);
  });

  test('a lease that is kept alive holds its keys; revoked, it takes them along', async () => {
    const lease = client.lease(3);
    let renewals = 0;
    lease.on('keepaliveSucceeded', () => {
      renewals += 1;
    });
    const id = await lease.grant();
    await lease.put('kept').value('x');
    expect((await client.get('kept').exec()).kvs[0]?.lease).toBe(id);
    // More renewals than the lease of 3 s could have outlived: one a second.
    await eventually('renewing', () => renewals >= 5);
    expect(await client.get('kept').string()).toBe('x');
    const { keys } = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
    expect(keys.map(String)).toEqual(['kept']);
    expect((await client.leaseClient.leaseLeases()).leases.map((item) => item.ID)).toContain(id);
    await lease.revoke();
    expect(await client.get('kept').string()).toBeNull();
  });

  test('a lease that nobody renews ends with its keys, and its owner hears of it', async () => {
    const lease = client.lease(3, { autoKeepAlive: false });
    const watcher = await client.watch().key('passing').create();
    const deleted = new Promise<IKeyValue>((resolve) => watcher.on('delete', resolve));
    await lease.put('passing').value('x');
    expect((await deleted).key.toString()).toBe('passing');
    expect(await client.get('passing').string()).toBeNull();
    await expect(lease.keepaliveOnce()).rejects.toThrow(EtcdLeaseInvalidError);
    await expect(
      client
        .put('late')
        .lease(await lease.grant())
        .value('x'),
    ).rejects.toThrow(EtcdLeaseInvalidError);
    await watcher.cancel();
  });

  test('a watch tells puts and deletes in order, with previous values, from any revision on', async () => {
    const { header } = await client.put('seen/a').value('1');
    const watcher = await client
      .watch()
      .prefix('seen/')
      .withPreviousKV()
      .startRevision(header.revision)
      .create();
    const events = listenTo(watcher);
    await client.put('seen/a').value('2');
    await client
      .if('seen/a', 'Version', '>', 0)
      .then(client.delete().key('seen/a'), client.put('seen/b').value('3'))
      .commit();
    await eventually('four events', () => events.length >= 4);
    expect(events).toEqual(['put seen/a 1', 'put seen/a 2 (1)', 'delete seen/a (2)', 'put seen/b 3']);
    await watcher.cancel();
    const deletesOnly = await client.watch().prefix('seen/').only('delete').create();
    const heard = listenTo(deletesOnly);
    await client.put('seen/c').value('4');
    await client.delete().key('seen/c');
    await eventually('the delete', () => heard.length > 0);
    expect(heard).toEqual(['delete seen/c']);
    await deletesOnly.cancel();
  });

  test('a watch of compacted history is cancelled with its reason', async () => {
    await client.put('old').value('1');
    const { header } = await client.put('old').value('2');
    await client.kv.compact({ revision: header.revision, physical: true });
    const watcher = client.watch().key('old').startRevision('1').watcher();
    const refused = new Promise<Error>((resolve) => watcher.on('error', resolve));
    expect((await refused).message).toContain('mvcc: required revision has been compacted');
    await expect(client.get('old').revision(1).string()).rejects.toThrow(
      'etcdserver: mvcc: required revision has been compacted',
    );
  });

  test('a watch goes on across the death of its member, the leader, and misses nothing', async () => {
    const watching = new Etcd3({ hosts: urls() });
    const watcher = watching.watch().prefix('crossing/').watcher();
    const connected = nextConnection(watcher);
    const events = listenTo(watcher);
    const serving = await memberWithId(await connected);
    await lead(serving);
    await client.put('crossing/before').value('1');
    await eventually('the first event', () => events.length === 1);

    const again = nextConnection(watcher);
    await serving.process?.stop('SIGKILL');
    await eventually('a write', () => client.put('crossing/while').value('2').exec());
    expect(await again).not.toBe('');
    await client.put('crossing/after').value('3');
    await eventually('the last event', () => events.includes('put crossing/after 3'));
    // A put that the client tried more than once may have been made more than once, but each is told once.
    expect([...new Set(events)]).toEqual([
      'put crossing/before 1',
      'put crossing/while 2',
      'put crossing/after 3',
    ]);
    const { kvs } = await client.get('crossing/while').exec();
    expect(events.filter((event) => event === 'put crossing/while 2')).toHaveLength(Number(kvs[0]!.version));
    await watcher.cancel();
    watching.close();
    await cluster.launch(serving).ready();
  });

  test('a lease outlives the leader that kept its time', async () => {
    const lease = client.lease(10);
    await lease.put('session').value('alive');
    const leader = await leaderOf(cluster);
    await leader.process?.stop('SIGKILL');
    await leaderOf(cluster);
    await new Promise<void>((resolve) => lease.on('keepaliveSucceeded', () => resolve()));
    expect(await client.get('session').string()).toBe('alive');
    await lease.revoke();
    await cluster.launch(leader).ready();
  });

  test('a lock has one holder, and the next when it is given back', async () => {
    const held = await client.lock('door').ttl(5).acquire();
    await expect(client.lock('door').acquire()).rejects.toThrow(EtcdLockFailedError);
    await held.release();
    let inside = 0;
    const once = async (): Promise<void> => {
      await client.lock('door').do(async () => {
        inside += 1;
        expect(inside).toBe(1);
        await client
          .put('door-used')
          .touch()
          .catch(() => client.put('door-used').value('x'));
        inside -= 1;
      });
    };
    for (let i = 0; i < 3; i++) await once();
    expect(await client.get('door').string()).toBeNull();
  });

  test('an election has one leader at a time', async () => {
    const election = client.election('captain', 5);
    const first = election.campaign('first');
    await new Promise<void>((resolve, reject) => {
      first.on('elected', resolve);
      first.on('error', reject);
    });
    expect(await election.leader()).toBe('first');
    const second = election.campaign('second');
    const elected = new Promise<void>((resolve) => second.on('elected', resolve));
    await first.resign();
    await elected;
    expect(await election.leader()).toBe('second');
    await second.resign();
  });

  test('a namespace sees and changes nothing outside of it', async () => {
    const mine = client.namespace('space/');
    await client.put('outside').value('o');
    await mine.put('inside').value('i');
    expect(await client.get('space/inside').string()).toBe('i');
    expect(await mine.get('outside').string()).toBeNull();
    expect(await mine.getAll().strings()).toEqual({ inside: 'i' });
    const watcher = await mine.watch().prefix('').create();
    const events = listenTo(watcher);
    await client.put('other').value('x');
    await mine.put('heard').value('y');
    await eventually('the event', () => events.length > 0);
    expect(events).toEqual(['put heard y']);
    await watcher.cancel();
    await mine.delete().all();
    expect(await client.getAll().prefix('space/').count()).toBe(0);
    expect(await client.get('outside').string()).toBe('o');
  });

  test('maintenance status and the list of members', async () => {
    const { members, header } = await client.cluster.memberList({ linearizable: true });
    expect(members.map(({ name }) => name).sort()).toEqual(['n1', 'n2', 'n3']);
    for (const { name, peerURLs, clientURLs } of members) {
      const place = cluster.members.find((member) => member.name === name);
      expect({ peerURLs, clientURLs }).toEqual({
        peerURLs: [place?.peerUrl],
        clientURLs: [place?.clientUrl],
      });
    }
    const status = await client.maintenance.status();
    expect(status.version).toBe('3.6.0');
    expect(status.header.cluster_id).toBe(header.cluster_id);
    expect(members.map(({ ID }) => ID)).toContain(status.leader);
    expect(Number(status.dbSize)).toBeGreaterThan(0);
    expect(await client.maintenance.alarm({ action: 'Get', alarm: 'None' })).toMatchObject({ alarms: [] });
    await client.maintenance.defragment();
  });

  function urls(): string[] {
    return cluster.members.map((member) => member.clientUrl);
  }

  async function memberWithId(id: string): Promise<ClusterMember> {
    const { members } = await client.cluster.memberList({ linearizable: true });
    const name = members.find((member) => member.ID === id)?.name;
    return cluster.members.find((member) => member.name === name)!;
  }

  /** Makes `member` the leader. */
  async function lead(member: ClusterMember): Promise<void> {
    const leader = await leaderOf(cluster);
    if (leader === member) return;
    const [from, to] = [new Etcd3({ hosts: leader.clientUrl }), new Etcd3({ hosts: member.clientUrl })];
    try {
      const { header } = await to.maintenance.status();
      await from.maintenance.moveLeader({ targetID: header.member_id });
    } finally {
      from.close();
      to.close();
    }
    expect(await leaderOf(cluster)).toBe(member);
  }
});

/** The id of the member that takes the watch up next. */
function nextConnection(watcher: Watcher): Promise<string> {
  return new Promise((resolve) => {
    watcher.once('connected', (created) => resolve(created.header.member_id));
  });
}

/** Fills with what the watch tells: `put KEY VALUE (PREVIOUS)`. */
function listenTo(watcher: Watcher): string[] {
  const events: string[] = [];
  const note = (kind: string, kv: IKeyValue, previous?: IKeyValue): void => {
    const value = kind === 'put' ? [kv.value.toString()] : [];
    const before = previous ? [`(${previous.value.toString()})`] : [];
    events.push([kind, kv.key.toString(), ...value, ...before].join(' '));
  };
  watcher.on('put', (kv, previous) => note('put', kv, previous));
  watcher.on('delete', (kv, previous) => note('delete', kv, previous));
  return events;
}
