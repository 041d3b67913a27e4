import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { leaderOf } from '../support/leader.ts';
import { rawCall } from '../support/raw-call.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
const put = (key: string, value = 'x') => ({ request_put: { key: bytes(key), value: bytes(value) } });
const puts = (count: number) => Array.from({ length: count }, (_, i) => put(`many/${i}`));
const INT64_MAX = 2n ** 63n - 1n;

type Case = readonly [what: string, path: string, request: object, code: number, text: string];

const { INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE, FAILED_PRECONDITION, UNIMPLEMENTED } = status;

/** Status and text are what other clients match on: not a character may differ. */
const CASES: readonly Case[] = [
  [
    'a value over the limit',
    'KV/Put',
    { key: bytes('k'), value: Buffer.alloc(1_600_000) },
    INVALID_ARGUMENT,
    'etcdserver: request is too large',
  ],
  [
    'a transaction over the limit',
    'KV/Txn',
    { success: [put('a', 'x'.repeat(800_000)), put('b', 'x'.repeat(800_000))] },
    INVALID_ARGUMENT,
    'etcdserver: request is too large',
  ],
  [
    '129 operations',
    'KV/Txn',
    { success: puts(129) },
    INVALID_ARGUMENT,
    'etcdserver: too many operations in txn request',
  ],
  [
    '129 operations in the other branch',
    'KV/Txn',
    { failure: puts(129) },
    INVALID_ARGUMENT,
    'etcdserver: too many operations in txn request',
  ],
  [
    '129 operations in a nested transaction',
    'KV/Txn',
    { success: [{ request_txn: { success: puts(129) } }] },
    INVALID_ARGUMENT,
    'etcdserver: too many operations in txn request',
  ],
  [
    '129 comparisons',
    'KV/Txn',
    { compare: Array.from({ length: 129 }, () => ({ key: bytes('k'), version: 0 })) },
    INVALID_ARGUMENT,
    'etcdserver: too many operations in txn request',
  ],
  [
    'a key put twice',
    'KV/Txn',
    { success: [put('d'), put('d')] },
    INVALID_ARGUMENT,
    'etcdserver: duplicate key given in txn request',
  ],
  [
    'a key put and deleted',
    'KV/Txn',
    { success: [put('d'), { request_delete_range: { key: bytes('c'), range_end: bytes('e') } }] },
    INVALID_ARGUMENT,
    'etcdserver: duplicate key given in txn request',
  ],
  [
    'a put without a key',
    'KV/Put',
    { value: bytes('x') },
    INVALID_ARGUMENT,
    'etcdserver: key is not provided',
  ],
  ['a range without a key', 'KV/Range', {}, INVALID_ARGUMENT, 'etcdserver: key is not provided'],
  ['a deletion without a key', 'KV/DeleteRange', {}, INVALID_ARGUMENT, 'etcdserver: key is not provided'],
  [
    'a comparison without a key',
    'KV/Txn',
    { compare: [{ version: 1 }] },
    INVALID_ARGUMENT,
    'etcdserver: key is not provided',
  ],
  [
    'an unknown sort order',
    'KV/Range',
    { key: bytes('k'), sort_order: 7 },
    INVALID_ARGUMENT,
    'etcdserver: invalid sort option',
  ],
  [
    'an unknown sort target',
    'KV/Range',
    { key: bytes('k'), sort_target: 9 },
    INVALID_ARGUMENT,
    'etcdserver: invalid sort option',
  ],
  [
    'keeping the value of a key that is not there',
    'KV/Put',
    { key: bytes('absent'), ignore_value: true },
    INVALID_ARGUMENT,
    'etcdserver: key not found',
  ],
  [
    'keeping the value and giving one',
    'KV/Put',
    { key: bytes('k'), value: bytes('x'), ignore_value: true },
    INVALID_ARGUMENT,
    'etcdserver: value is provided',
  ],
  [
    'keeping the lease and giving one',
    'KV/Put',
    { key: bytes('k'), lease: 5n, ignore_lease: true },
    INVALID_ARGUMENT,
    'etcdserver: lease is provided',
  ],
  [
    'a put with an unknown lease',
    'KV/Put',
    { key: bytes('k'), value: bytes('x'), lease: 4711n },
    NOT_FOUND,
    'etcdserver: requested lease not found',
  ],
  [
    'a put with an unknown negative lease',
    'KV/Put',
    { key: bytes('k'), lease: -(2n ** 63n) },
    NOT_FOUND,
    'etcdserver: requested lease not found',
  ],
  [
    'an unknown lease within a transaction',
    'KV/Txn',
    { success: [put('a'), { request_put: { key: bytes('b'), lease: 4711n } }] },
    NOT_FOUND,
    'etcdserver: requested lease not found',
  ],
  [
    'revoking an unknown lease',
    'Lease/LeaseRevoke',
    { ID: 4711n },
    NOT_FOUND,
    'etcdserver: requested lease not found',
  ],
  [
    'granting a lease twice',
    'Lease/LeaseGrant',
    { ID: 77n, TTL: 600 },
    FAILED_PRECONDITION,
    'etcdserver: lease already exists',
  ],
  [
    'a lease for ever',
    'Lease/LeaseGrant',
    { TTL: INT64_MAX },
    OUT_OF_RANGE,
    'etcdserver: too large lease TTL',
  ],
  [
    'a compacted revision',
    'KV/Range',
    { key: bytes('k'), revision: 1 },
    OUT_OF_RANGE,
    'etcdserver: mvcc: required revision has been compacted',
  ],
  [
    'a future revision',
    'KV/Range',
    { key: bytes('k'), revision: 1_000_000 },
    OUT_OF_RANGE,
    'etcdserver: mvcc: required revision is a future revision',
  ],
  [
    'a revision beyond what can be counted',
    'KV/Range',
    { key: bytes('k'), revision: INT64_MAX },
    OUT_OF_RANGE,
    'etcdserver: mvcc: required revision is a future revision',
  ],
  [
    'a future revision within a transaction',
    'KV/Txn',
    { success: [put('a'), { request_range: { key: bytes('k'), revision: 1_000_000 } }] },
    OUT_OF_RANGE,
    'etcdserver: mvcc: required revision is a future revision',
  ],
  [
    'compacting what is compacted',
    'KV/Compact',
    { revision: 1 },
    OUT_OF_RANGE,
    'etcdserver: mvcc: required revision has been compacted',
  ],
  [
    'compacting the future',
    'KV/Compact',
    { revision: 1_000_000 },
    OUT_OF_RANGE,
    'etcdserver: mvcc: required revision is a future revision',
  ],
  [
    'a hash of the future',
    'Maintenance/HashKV',
    { revision: 1_000_000 },
    OUT_OF_RANGE,
    'etcdserver: mvcc: required revision is a future revision',
  ],
  [
    'removing a member that is none',
    'Cluster/MemberRemove',
    { ID: 4711n },
    NOT_FOUND,
    'etcdserver: member not found',
  ],
  [
    'promoting a member that is none',
    'Cluster/MemberPromote',
    { ID: 4711n },
    NOT_FOUND,
    'etcdserver: member not found',
  ],
  [
    'adding a member without an address',
    'Cluster/MemberAdd',
    { peerURLs: [] },
    INVALID_ARGUMENT,
    'etcdserver: given member URLs are invalid',
  ],
  [
    'adding a member at a wrong address',
    'Cluster/MemberAdd',
    { peerURLs: ['nowhere'] },
    INVALID_ARGUMENT,
    'etcdserver: given member URLs are invalid',
  ],
];

describe('what is wrong with a request is said in etcd’s words, and nothing is changed', () => {
  let cluster: Cluster;
  let places: { readonly leader: ClusterMember; readonly follower: ClusterMember };

  beforeAll(async () => {
    cluster = await Cluster.start(3);
    const leader = await leaderOf(cluster);
    places = { leader, follower: cluster.members.find((member) => member !== leader)! };
    using client = new KvClient({ endpoints: [leader.clientUrl] });
    for (const value of ['1', '2', '3']) await client.put({ key: 'k', value });
    await client.leaseGrant({ id: 77n, ttlSeconds: 600 });
    await client.compact({ revision: 3 });
  });
  afterAll(async () => {
    await cluster.destroy();
  });

  describe.each(['leader', 'follower'] as const)('by the %s', (role) => {
    test.each(CASES)('%s', async (_what, path, request, code, text) => {
      const { clientUrl } = places[role];
      const before = await contents(clientUrl);
      expect(await rawCall(clientUrl, path, request)).toEqual({ ok: false, code, text });
      expect(await contents(clientUrl)).toEqual(before);
    });

    test('promoting a voter', async () => {
      const { clientUrl } = places[role];
      using client = new KvClient({ endpoints: [clientUrl] });
      const { members } = await client.memberList();
      const answer = await rawCall(clientUrl, 'Cluster/MemberPromote', { ID: members[0]!.id });
      const text = 'etcdserver: can only promote a learner member';
      expect(answer).toEqual({ ok: false, code: FAILED_PRECONDITION, text });
    });

    test('an address that another member has', async () => {
      const { clientUrl, peerUrl } = places[role];
      const answer = await rawCall(clientUrl, 'Cluster/MemberAdd', { peerURLs: [peerUrl] });
      const text = 'etcdserver: Peer URLs already exists';
      expect(answer).toEqual({ ok: false, code: FAILED_PRECONDITION, text });
    });

    test('a message that is larger than any request may be', async () => {
      const { clientUrl } = places[role];
      const huge = { key: bytes('k'), value: Buffer.alloc(8 * 1024 * 1024) };
      expect(await rawCall(clientUrl, 'KV/Put', huge)).toMatchObject({
        ok: false,
        code: status.RESOURCE_EXHAUSTED,
      });
    });

    test('a method that this version has not', async () => {
      const { clientUrl } = places[role];
      expect(await rawCall(clientUrl, 'KV/Nothing', {})).toEqual({
        ok: false,
        code: UNIMPLEMENTED,
        text: 'unknown method Nothing for service etcdserverpb.KV',
      });
    });
  });

  test('an unknown lease has no time to live, which is no error', async () => {
    const { clientUrl } = places.follower;
    const result = await rawCall(clientUrl, 'Lease/LeaseTimeToLive', { ID: 4711n });
    expect(result).toMatchObject({ ok: true, answer: { ID: 4711, TTL: -1 } });
  });

  test('exactly 128 operations and 1.5 MB are taken', async () => {
    const { clientUrl } = places.follower;
    expect(await rawCall(clientUrl, 'KV/Txn', { success: puts(128) })).toMatchObject({ ok: true });
    const large = { key: bytes('large'), value: Buffer.alloc(1_500_000, 1) };
    expect(await rawCall(clientUrl, 'KV/Put', large)).toMatchObject({ ok: true });
    using client = new KvClient({ endpoints: [places.leader.clientUrl] });
    expect((await client.range({ key: 'large' })).kvs[0]?.value.equals(large.value)).toBe(true);
  });
});

/** Everything that is stored, with the revision it is stored at. */
async function contents(url: string): Promise<unknown> {
  using client = new KvClient({ endpoints: [url] });
  const { header, kvs } = await client.range({ key: Buffer.alloc(1), rangeEnd: Buffer.alloc(1) });
  const { members } = await client.memberList();
  return { revision: header.revision, keys: kvs.map(({ key }) => key.toString()), members };
}
