import { Prng } from '../../core/raft/prng.ts';
import { ROOT } from './comparison.ts';
import { authCall, caller, disableAuth, enableAuth, login } from './generate-auth.ts';
import * as kv from './generate-kv.ts';
import { maybe } from './generate-kv.ts';
import { type Fields, type FieldValue, type Operation, Symbolic } from './operations.ts';

/** Watch streams in use at a time; a stream is closed and opened anew now and then. */
const STREAMS = 4;
/** Watches on one stream have these ids, or those that the server gives. */
const WATCH_IDS: readonly FieldValue[] = [0, 0, 0, 0, 1, 2, 5, 7, -1, -3, 2n ** 40n];
/** Seconds: no lease may end by itself while it is compared. */
const TTLS: readonly number[] = [3_600, 7_200, 100_000];
const AUTH_OPERATIONS = 120;
const ALARM_OPERATIONS = 12;
const TO_END = Buffer.from([0]);

interface Weighted {
  readonly weight: number;
  readonly make: (random: Prng) => Operation;
}

const call = (path: string, request: Fields): Operation => ({ type: 'call', path, request });

const KINDS: readonly Weighted[] = [
  { weight: 260, make: (random) => call('KV/Put', kv.put(random)) },
  { weight: 240, make: (random) => call('KV/Range', kv.range(random)) },
  { weight: 90, make: (random) => call('KV/DeleteRange', kv.deleteRange(random)) },
  { weight: 210, make: (random) => call('KV/Txn', kv.txn(random)) },
  { weight: 6, make: compact },
  { weight: 2, make: (random) => call('KV/Txn', kv.manyOps(random)) },
  { weight: 1, make: (random) => call('KV/Put', kv.largePut(random)) },
  { weight: 40, make: leaseGrant },
  { weight: 20, make: (random) => call('Lease/LeaseRevoke', { ID: kv.leaseId(random) }) },
  { weight: 15, make: timeToLive },
  { weight: 5, make: () => call('Lease/LeaseLeases', {}) },
  { weight: 10, make: (random) => ({ type: 'keep-alive', request: { ID: kv.leaseId(random) } }) },
  { weight: 22, make: watchCreate },
  { weight: 8, make: watchCancel },
  { weight: 6, make: (random) => ({ type: 'watch-progress', stream: random.below(STREAMS) }) },
  { weight: 3, make: (random) => ({ type: 'watch-close', stream: random.below(STREAMS) }) },
  { weight: 12, make: () => ({ type: 'settle' }) },
  { weight: 8, make: maintenance },
  { weight: 6, make: cluster },
];
const WEIGHT = KINDS.reduce((sum, { weight }) => sum + weight, 0);

/** A stream of `count` operations or some more, so that nothing stays switched on; equal arguments give equal streams. */
export function generate(options: {
  readonly seed: number;
  readonly count: number;
  /** With operations on users, roles and permissions, and stretches in which authentication is on. */
  readonly auth: boolean;
}): Operation[] {
  const random = new Prng(options.seed);
  const operations: Operation[] = [];
  while (operations.length < options.count) {
    const kind = random.below(1_000);
    if (kind < 3) operations.push(...alarmed(random));
    else if (options.auth && kind < 5) operations.push(...authenticated(random));
    else if (options.auth && kind < 25) operations.push(authCall(random));
    else operations.push(plainOperation(random));
  }
  return [...operations, { type: 'settle' }, ...shortLeases()];
}

/** Last, since they end by themselves. */
function shortLeases(): Operation[] {
  return [-3, 0, 1, 2, 3].map((TTL, index) => call('Lease/LeaseGrant', { TTL, ID: 9_000 + index }));
}

function plainOperation(random: Prng): Operation {
  let place = random.below(WEIGHT);
  for (const { weight, make } of KINDS) {
    place -= weight;
    if (place < 0) return make(random);
  }
  throw new Error('weights add up');
}

/** While an alarm is on most writes are refused. */
function alarmed(random: Prng): Operation[] {
  const alarm = random.pick([1, 1, 2]);
  const memberID = random.chance(70) ? new Symbolic('self') : 4711;
  const within = Array.from({ length: ALARM_OPERATIONS }, () => plainOperation(random)).map((operation) =>
    putsOnlyWithin(operation) ? call('KV/Range', kv.range(random)) : operation,
  );
  return [
    { type: 'settle' },
    call('Maintenance/Alarm', { action: 1, memberID, alarm }),
    call('Maintenance/Alarm', { action: 0, alarm, memberID: random.pick([0, 4712]) }),
    call('Maintenance/Status', {}),
    ...within,
    call('Maintenance/Alarm', { action: 2, memberID, alarm }),
    call('Maintenance/Alarm', { action: 0 }),
  ];
}

/** Without space etcd lets a transaction pass whose only puts are in inner transactions; we do not. */
function putsOnlyWithin(operation: Operation): boolean {
  if (operation.type !== 'call' || operation.path !== 'KV/Txn') return false;
  const ops = opsOf(operation.request);
  return ops.some((op) => op['request_txn']) && !ops.some((op) => op['request_put']);
}

function opsOf({ success = [], failure = [] }: Fields): readonly Fields[] {
  return [...(success as readonly Fields[]), ...(failure as readonly Fields[])];
}

function authenticated(random: Prng): Operation[] {
  const within = Array.from({ length: AUTH_OPERATIONS }, (): Operation => {
    const kind = random.below(100);
    if (kind < 8) return login(random);
    const as = caller(random);
    if (kind < 25) return authCall(random, as);
    const operation = narrowed(plainOperation(random));
    if (!('request' in operation) || operation.type === 'watch-cancel') return operation;
    const name = isHardened(operation) ? ROOT.name : as;
    return name === undefined ? operation : { ...operation, as: name };
  });
  // A stream keeps the token that it was opened with: those of before have none.
  const reopened = Array.from(
    { length: STREAMS },
    (_, stream): Operation => ({ type: 'watch-close', stream }),
  );
  return [...enableAuth(random), ...reopened, ...within, ...disableAuth(), ...reopened];
}

/** Of a watch that `watch-to-end-permission` and `inverted-range-permission` are about, its first key. */
function narrowed(operation: Operation): Operation {
  if (operation.type !== 'watch-create') return operation;
  const { range_end: _, ...request } = operation.request;
  return isToEnd(operation.request) || isInverted(operation.request) ? { ...operation, request } : operation;
}

/**
 * For leases, maintenance, members, compactions and some of what a transaction can hold etcd 3.4 asks for fewer rights
 * than we, and for ranges that end before they begin for other ones: here only root has them.
 */
function isHardened(operation: Operation): boolean {
  if (operation.type === 'keep-alive') return true;
  if (operation.type !== 'call') return false;
  const { path, request } = operation;
  if (path === 'KV/Txn') return isInvertedWithin(request) || opsOf(request).some(isOverlooked);
  return isInverted(request) || /^(Lease|Maintenance|Cluster)|Compact$/.test(path);
}

function isToEnd({ range_end: end }: Fields): boolean {
  return Buffer.isBuffer(end) && end.equals(TO_END);
}

function isInverted(request: Fields): boolean {
  const { key, range_end: end } = request;
  if (!Buffer.isBuffer(key) || !Buffer.isBuffer(end) || end.length === 0 || isToEnd(request)) return false;
  return Buffer.compare(key, end) >= 0;
}

function isInvertedWithin(txn: Fields): boolean {
  const { compare = [] } = txn;
  const ranges = opsOf(txn).flatMap((op) => Object.values(op) as readonly Fields[]);
  return [...(compare as readonly Fields[]), ...ranges].some(isInverted);
}

/** `transaction-permissions`: what is within, what was there before, and whose lease it is. */
function isOverlooked(op: Fields): boolean {
  const put = op['request_put'] as Fields | undefined;
  return (
    op['request_txn'] !== undefined || (put !== undefined && (put['prev_kv'] === true || 'lease' in put))
  );
}

function compact(random: Prng): Operation {
  const revision = random.chance(60) ? new Symbolic('revision', -random.below(60)) : kv.revision(random);
  return call('KV/Compact', { revision, ...maybe(random, 30, { physical: true }) });
}

function leaseGrant(random: Prng): Operation {
  const TTL = random.chance(95) ? random.pick(TTLS) : random.pick<FieldValue>([9_000_000_001, 2n ** 62n]);
  return call('Lease/LeaseGrant', { TTL, ID: random.chance(3) ? 0 : random.pick(kv.LEASE_IDS) });
}

function timeToLive(random: Prng): Operation {
  return call('Lease/LeaseTimeToLive', { ID: kv.leaseId(random), ...maybe(random, 70, { keys: true }) });
}

function watchCreate(random: Prng): Operation {
  const request = {
    key: kv.key(random),
    range_end: kv.rangeEnd(random),
    ...maybe(random, 35, { start_revision: kv.startRevision(random) }),
    ...maybe(random, 30, { filters: random.pick([[0], [1], [0, 1], [1, 1], [2]]) }),
    ...maybe(random, 50, { prev_kv: true }),
    ...maybe(random, 10, { progress_notify: true }),
    ...maybe(random, 20, { fragment: true }),
    ...maybe(random, 60, { watch_id: random.pick(WATCH_IDS) }),
  };
  return { type: 'watch-create', stream: random.below(STREAMS), request };
}

function watchCancel(random: Prng): Operation {
  const watch_id = random.chance(50) ? random.below(4) : random.pick(WATCH_IDS);
  return { type: 'watch-cancel', stream: random.below(STREAMS), request: { watch_id } };
}

function maintenance(random: Prng): Operation {
  return random.pick([
    () => call('Maintenance/Status', {}),
    () => call('Maintenance/Alarm', { action: 0, alarm: random.below(3) }),
    () => call('Maintenance/Defragment', {}),
    () => call('Maintenance/Hash', {}),
    () => call('Maintenance/HashKV', maybe(random, 70, { revision: kv.revision(random) })),
    () =>
      call('Maintenance/MoveLeader', { targetID: random.pick<FieldValue>([0, 4711, new Symbolic('self')]) }),
  ])();
}

/** Nothing that would leave one member without a quorum. */
function cluster(random: Prng): Operation {
  const unknown = { ID: random.pick<FieldValue>([0, 4711, 2n ** 63n - 1n]) };
  return random.pick([
    () => call('Cluster/MemberList', maybe(random, 50, { linearizable: true })),
    () => call('Cluster/MemberAdd', { peerURLs: random.pick([[], ['nowhere'], ['http://x y'], ['']]) }),
    () => call('Cluster/MemberRemove', unknown),
    () => call('Cluster/MemberPromote', unknown),
    () => call('Cluster/MemberPromote', { ID: new Symbolic('self') }),
    () => call('Cluster/MemberUpdate', { ...unknown, peerURLs: ['http://127.0.0.1:1'] }),
    () => call('Cluster/MemberUpdate', { ...unknown, peerURLs: [] }),
  ])();
}
