import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GATEWAY_ROUTES } from '../../src/api/etcd/gateway-routes.ts';
import { Cluster } from '../support/cluster.ts';
import { etcdctl, skipWithoutEtcdctl } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';

interface Kv {
  readonly value: string;
  readonly mod_revision: string;
}
/** The fields of all answers that are looked at here; each answer has some of them. */
interface Body {
  readonly header: { readonly revision: string; readonly member_id: string };
  readonly kvs: readonly [Kv];
  readonly kv: Kv;
  readonly key: string;
  readonly count: string;
  readonly succeeded: boolean;
  readonly responses: readonly [{ readonly response_put: { readonly prev_kv: Kv } }];
  readonly deleted: string;
  readonly ID: string;
  readonly TTL: string;
  readonly grantedTTL: string;
  readonly leases: readonly unknown[];
  readonly members: readonly [{ readonly ID: string; readonly peerURLs: readonly string[] }];
  readonly leader: unknown;
  readonly hash: number;
  readonly hash_revision: string;
  readonly errors: readonly string[];
  readonly alarms: readonly unknown[];
  readonly created: boolean;
  readonly events: readonly [{ readonly kv: Kv }];
  readonly blob: string;
  readonly message: string;
  readonly code: number;
}
interface Line {
  readonly result: Body;
}
interface Answer {
  readonly status: number;
  readonly body: Body;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const text = (encoded: string): string => Buffer.from(encoded, 'base64').toString();

let cluster: Cluster;
let url: string;
const called = new Set<string>();

beforeAll(async () => {
  cluster = await Cluster.start(1, ['--auto-compaction-retention=1s']);
  url = cluster.members[0]!.clientUrl;
});
afterAll(async () => {
  await cluster.destroy();
});

async function post(path: string, body: object = {}): Promise<Answer> {
  called.add(path);
  const response = await fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body) });
  return { status: response.status, body: (await response.json()) as Body };
}

/** The first `count` lines of a stream, which is then left. */
async function lines(path: string, body: string, count: number): Promise<Line[]> {
  called.add(path);
  const leave = new AbortController();
  const response = await fetch(`${url}${path}`, { method: 'POST', body, signal: leave.signal });
  let seen = '';
  for await (const chunk of response.body!) {
    seen += Buffer.from(chunk).toString();
    if (seen.split('\n').length > count) break;
  }
  leave.abort();
  return seen
    .split('\n')
    .slice(0, count)
    .map((line) => JSON.parse(line) as Line);
}

async function grant(): Promise<string> {
  return (await post('/v3/lease/grant', { TTL: '600' })).body.ID;
}

describe('the JSON gateway of a real member', () => {
  test('keys: put, range, delete, transaction, compaction', async () => {
    const key = base64('greeting');
    const put = await post('/v3/kv/put', { key, value: base64('hello') });
    expect(put.status).toBe(200);
    const { body } = await post('/v3/kv/range', { key });
    expect(text(body.kvs[0].value)).toBe('hello');
    expect(body.count).toBe('1');
    const txn = await post('/v3/kv/txn', {
      compare: [{ key, target: 'MOD', mod_revision: body.kvs[0].mod_revision }],
      success: [{ request_put: { key, value: base64('bye'), prev_kv: true } }],
    });
    expect(txn.body.succeeded).toBe(true);
    expect(text(txn.body.responses[0].response_put.prev_kv.value)).toBe('hello');
    const { revision } = txn.body.header;
    await eventually('the compaction of the past', async () => {
      const old = await post('/v3/kv/range', { key, revision: body.kvs[0].mod_revision });
      return old.status === 400 && old.body.message.includes('has been compacted');
    });
    const compacted = await post('/v3/kv/compaction', { revision: '1' });
    expect(compacted.body).toMatchObject({ code: 11 });
    expect((await post('/v3/kv/deleterange', { key })).body.deleted).toBe('1');
    expect(Number(revision)).toBeGreaterThan(1);
  });

  test('leases, on both their paths', async () => {
    const ID = await grant();
    const [alive] = await lines('/v3/lease/keepalive', JSON.stringify({ ID }), 1);
    expect(alive!.result).toMatchObject({ ID, TTL: '600' });
    for (const base of ['/v3/lease', '/v3/kv/lease']) {
      expect((await post(`${base}/timetolive`, { ID })).body.grantedTTL).toBe('600');
      expect((await post(`${base}/leases`)).body.leases).toContainEqual({ ID });
    }
    expect((await post('/v3/lease/revoke', { ID })).status).toBe(200);
    expect((await post('/v3/kv/lease/revoke', { ID })).body).toMatchObject({ code: 5 });
  });

  test('a watch hears of what is put later', async () => {
    const key = base64('watched');
    const heard = lines('/v3/watch', JSON.stringify({ create_request: { key } }), 2);
    let done = false;
    const settled = heard.finally(() => {
      done = true;
    });
    while (!done) await post('/v3/kv/put', { key, value: base64('now') });
    const [created, event] = await settled;
    expect(created!.result.created).toBe(true);
    expect(text(event!.result.events[0].kv.value)).toBe('now');
  });

  test('members', async () => {
    const list = await post('/v3/cluster/member/list');
    const self = list.body.members[0];
    expect(self).toMatchObject({ name: 'n1', clientURLs: [url] });
    expect(Number(self.ID)).toBeGreaterThan(0);
    const update = await post('/v3/cluster/member/update', { ID: self.ID, peerURLs: self.peerURLs });
    expect(update.status).toBe(200);
    for (const path of ['add', 'remove', 'promote']) {
      expect((await post(`/v3/cluster/member/${path}`, { ID: '77' })).status).toBeGreaterThanOrEqual(400);
    }
  });

  test('maintenance, with 3.6.0 throughout', async () => {
    const { body } = await post('/v3/maintenance/status');
    expect(body).toMatchObject({
      version: '3.6.0',
      storageVersion: '3.6.0',
      dbSizeQuota: String(2 ** 31),
      downgradeInfo: {},
      leader: body.header.member_id,
    });
    expect(await (await fetch(`${url}/version`)).json()).toEqual({
      etcdserver: '3.6.0',
      etcdcluster: '3.6.0',
      storage: '3.6.0',
    });
    expect(await (await fetch(`${url}/health`)).json()).toEqual({ health: 'true', reason: '' });
    expect((await post('/v3/maintenance/defragment')).status).toBe(200);
    expect(typeof (await post('/v3/maintenance/hash')).body.hash).toBe('number');
    expect((await post('/v3/maintenance/hashkv')).body.hash_revision).toBeDefined();
    const [piece] = await lines('/v3/maintenance/snapshot', '{}', 1);
    expect(Buffer.from(piece!.result.blob, 'base64').length).toBeGreaterThan(0);
    const same = await post('/v3/maintenance/transfer-leadership', { targetID: body.leader });
    expect(same.status).toBe(200);
    for (const [request, code, words] of [
      [{ action: 'VALIDATE', version: '3.5' }, 3, 'invalid downgrade target version'],
      [{ action: 'ENABLE', version: 'old' }, 3, 'wrong downgrade target version format'],
      [{ action: 'CANCEL' }, 9, 'no inflight downgrade job'],
    ] as const) {
      const answer = await post('/v3/maintenance/downgrade', request);
      expect(answer.body).toMatchObject({ code, message: `etcdserver: ${words}` });
    }
  });

  test('locks and elections', async () => {
    const lease = await grant();
    const { body } = await post('/v3/lock/lock', { name: base64('l'), lease });
    expect(text(body.key)).toBe(`l/${BigInt(lease).toString(16)}`);
    expect((await post('/v3/lock/unlock', { key: body.key })).status).toBe(200);
    const won = await post('/v3/election/campaign', { name: base64('e'), lease, value: base64('v1') });
    const { leader } = won.body;
    expect((await post('/v3/election/proclaim', { leader, value: base64('v2') })).status).toBe(200);
    expect(text((await post('/v3/election/leader', { name: base64('e') })).body.kv.value)).toBe('v2');
    const [seen] = await lines('/v3/election/observe', JSON.stringify({ name: base64('e') }), 1);
    expect(text(seen!.result.kv.value)).toBe('v2');
    expect((await post('/v3/election/resign', { leader })).status).toBe(200);
  });

  test('authentication is reached', async () => {
    for (const [path, rpc] of GATEWAY_ROUTES) {
      if (!rpc.startsWith('/etcdserverpb.Auth/')) continue;
      const { status, body } = await post(path);
      expect({ path, isOurs: status === 200 || typeof body.code === 'number' }).toEqual({
        path,
        isOurs: true,
      });
      expect(status).not.toBe(404);
    }
  });

  test('an alarm refuses writes and is shown', async () => {
    const alarm = (action: string, alarm: string) =>
      post('/v3/maintenance/alarm', { action, memberID: '5', alarm });
    for (const [name, code, words] of [
      ['CORRUPT', 15, 'etcdserver: corrupt cluster'],
      ['NOSPACE', 8, 'etcdserver: mvcc: database space exceeded'],
    ] as const) {
      expect((await alarm('ACTIVATE', name)).body.alarms).toEqual([{ memberID: '5', alarm: name }]);
      expect((await post('/v3/kv/put', { key: base64('k') })).body).toMatchObject({ code, message: words });
      expect((await post('/v3/kv/range', { key: base64('k') })).status).toBe(200);
      expect((await post('/v3/maintenance/status')).body.errors).toEqual([`memberID:5 alarm:${name} `]);
      const health = await fetch(`${url}/health`);
      expect(health.status).toBe(503);
      expect(await health.json()).toEqual({ health: 'false', reason: `ALARM ${name}` });
      expect((await fetch(`${url}/health?exclude=${name}`)).status).toBe(200);
      await alarm('DEACTIVATE', name);
      expect((await post('/v3/kv/put', { key: base64('k') })).status).toBe(200);
    }
  });

  test('every route was called', () => {
    expect([...GATEWAY_ROUTES.keys()].filter((path) => !called.has(path))).toEqual([]);
  });
});

describe.skipIf(skipWithoutEtcdctl)('beside etcdctl (needs Debian etcd-client)', () => {
  /** A client-side lock or candidacy: what it has printed, and its end by interrupt, which gives the place up. */
  function hold(...args: string[]) {
    const child = spawn('etcdctl', ['--endpoints', url, ...args], {
      env: { ...process.env, ETCDCTL_API: '3' },
    });
    let printed = '';
    child.stdout.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
    });
    return {
      has: () => eventually(`etcdctl ${args.join(' ')}`, () => printed.includes('/') && printed),
      printed: () => printed,
      release: async () => {
        const gone = once(child, 'exit');
        child.kill('SIGINT');
        await gone;
      },
    };
  }

  async function waiting(prefix: string, count: number): Promise<void> {
    const range = { key: base64(`${prefix}/`), range_end: base64(`${prefix}0`), count_only: true };
    await eventually(`${count} in ${prefix}`, async () => {
      return Number((await post('/v3/kv/range', range)).body.count) === count;
    });
  }

  test("etcdctl's lock keeps the server's waiting", async () => {
    const client = hold('lock', 'shared');
    await client.has();
    let has = false;
    const server = post('/v3/lock/lock', { name: base64('shared'), lease: await grant() }).then((answer) => {
      has = true;
      return answer;
    });
    await waiting('shared', 2);
    expect(has).toBe(false);
    await client.release();
    const { body } = await server;
    await post('/v3/lock/unlock', { key: body.key });
  });

  test("the server's lock keeps etcdctl's waiting", async () => {
    const { body } = await post('/v3/lock/lock', { name: base64('other'), lease: await grant() });
    const client = hold('lock', 'other');
    await waiting('other', 2);
    expect(client.printed()).toBe('');
    await post('/v3/lock/unlock', { key: body.key });
    expect(await client.has()).toMatch(/^other\/[0-9a-f]+/);
    await client.release();
  });

  test('an election has candidates of both kinds', async () => {
    const client = hold('elect', 'office', 'from etcdctl');
    await client.has();
    const server = post('/v3/election/campaign', {
      name: base64('office'),
      lease: await grant(),
      value: base64('from the server'),
    });
    await waiting('office', 2);
    const leader = async () =>
      text((await post('/v3/election/leader', { name: base64('office') })).body.kv.value);
    expect(await leader()).toBe('from etcdctl');
    await client.release();
    const won = await server;
    expect(await leader()).toBe('from the server');
    const listened = hold('elect', '--listen', 'office');
    expect(await listened.has()).toContain('from the server');
    await listened.release();
    await post('/v3/election/resign', { leader: won.body.leader });
  });

  test('alarms are listed and disarmed', async () => {
    await post('/v3/maintenance/alarm', { action: 'ACTIVATE', memberID: '9', alarm: 'CORRUPT' });
    expect((await etcdctl(url, 'alarm', 'list')).stdout).toBe('memberID:9 alarm:CORRUPT \n');
    expect((await etcdctl(url, 'put', 'k', 'v')).stderr).toContain('etcdserver: corrupt cluster');
    expect((await etcdctl(url, 'alarm', 'disarm')).stdout).toBe('memberID:9 alarm:CORRUPT \n');
    expect((await etcdctl(url, 'put', 'k', 'v')).stdout).toBe('OK\n');
  });
});
