import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AlarmKind, Operation } from '../../src/core/command.ts';
import type { RequestOp } from '../../src/core/mvcc/operations.ts';
import { MachineHarness, member } from './machine-fixture.ts';
import { compare, put, range, remove, txn } from './mvcc/fixture.ts';

/** Commands that often succeed, over few keys, leases and members. */

const key = fc.constantFrom('a', 'b', 'c', '\xff', 'a\0');
const lease = fc.constantFrom(0n, 0n, 1n, -2n, 2n ** 63n - 1n);
const leaseId = fc.constantFrom(1n, -2n, 2n ** 63n - 1n);
const memberId = fc.integer({ min: 1, max: 6 });
const url = memberId.map((id) => `http://m${id}:2380`);
const putOp = fc
  .record({
    key,
    value: fc.string({ maxLength: 20 }),
    lease,
    prevKv: fc.boolean(),
    ignoreLease: fc.boolean(),
  })
  .map(({ key: name, value, ...rest }) => put(name, value, rest.ignoreLease ? { ...rest, lease: 0n } : rest));
const removeOp = fc
  .record({ key, end: fc.constantFrom('', 'c', '\0'), prevKv: fc.boolean() })
  .map(({ key: name, end, prevKv }) => remove(name, end, prevKv));
const rangeOp = fc
  .record({ key, end: fc.constantFrom('', '\0'), revision: fc.nat({ max: 20 }) })
  .map(({ key: name, end, revision }) => range(name, end, { revision }));
const op: fc.Arbitrary<RequestOp> = fc.oneof(putOp, removeOp, rangeOp);
const txnOp = fc
  .record({
    key,
    version: fc.nat({ max: 2 }),
    success: fc.array(op, { maxLength: 3 }),
    failure: fc.array(op, { maxLength: 3 }),
  })
  .map(({ key: name, version, success, failure }) =>
    txn([compare(name, 'greater', { target: 'version', number: version })], success, failure),
  );

const operation: fc.Arbitrary<Operation | null> = fc.oneof(
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 8, arbitrary: putOp },
  { weight: 3, arbitrary: removeOp },
  { weight: 4, arbitrary: txnOp },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('compact' as const), revision: fc.nat({ max: 30 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('lease-grant' as const),
      id: leaseId,
      ttlSeconds: fc.integer({ min: 0, max: 9 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('lease-revoke' as const), id: leaseId }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('lease-expire' as const),
      term: fc.integer({ min: 1, max: 2 }),
      ids: fc.array(leaseId, { maxLength: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('lease-checkpoint' as const),
      checkpoints: fc.array(fc.record({ id: leaseId, remainingSeconds: fc.nat({ max: 9 }) }), {
        maxLength: 3,
      }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('alarm' as const),
      action: fc.constantFrom('activate', 'deactivate', 'deactivate', 'deactivate'),
      member: fc.constant(1),
      alarm: fc.constantFrom<AlarmKind[]>('no-space', 'corrupt'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('member-add' as const),
      member: memberId.map((id) => member(id)),
      learner: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constantFrom('member-promote', 'member-remove'), id: memberId }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('member-update' as const),
      id: memberId,
      peerUrls: fc.array(url, { maxLength: 2 }),
    }),
  },
);
const log = fc.array(fc.tuple(operation, fc.boolean()), { minLength: 1, maxLength: 80, size: 'max' });

/** The log as its first member wrote it. */
function written(steps: readonly (readonly [Operation | null, boolean])[]): MachineHarness {
  const first = new MachineHarness();
  steps.forEach(([each, newTerm], i) => {
    if (newTerm && i === steps.length >> 1) first.log.term = 2;
    first.apply(each);
  });
  return first;
}

test('members that applied the same log are equal, whatever the pace of their disks and compactions', () => {
  let succeeded = 0;
  let failed = 0;
  fc.assert(
    fc.property(log, fc.array(fc.nat({ max: 3 })), (steps, pace) => {
      const first = written(steps);
      const second = new MachineHarness();
      const third = written(steps);
      first.log.entries.forEach((entry, i) => {
        const what = pace[i % (pace.length + 1)];
        if (what === 1) second.flush();
        if (what === 2) second.collect();
        if (what === 3) second.machine.store.compactionStep(1);
        const { outcome } = second.replay(entry);
        if (outcome.ok) succeeded += 1;
        else failed += 1;
        expect(second.machine.marker().appliedIndex).toBe(i + 1);
      });
      for (const each of [first, second, third]) {
        while (each.machine.store.compactionPending) each.machine.store.compactionStep(2);
      }
      expect(second.machine.marker()).toEqual(first.machine.marker());
      expect(third.machine.marker()).toEqual(first.machine.marker());
      expect(second.machine.tableRows()).toEqual(first.machine.tableRows());
    }),
    { numRuns: 120 },
  );
  // Both ways of ending were well exercised.
  expect(succeeded).toBeGreaterThan(1_000);
  expect(failed).toBeGreaterThan(200);
});

test('a member that restarts anywhere and goes on is equal to one that did not', () => {
  fc.assert(
    fc.property(log, fc.nat(), fc.boolean(), (steps, at, collected) => {
      const first = written(steps);
      const { entries } = first.log;
      const stop = at % (entries.length + 1);
      const before = new MachineHarness();
      for (const entry of entries.slice(0, stop)) before.replay(entry);
      if (collected) before.collect();
      else before.flush();
      const after = before.restart();
      expect(after.machine.marker()).toEqual(before.machine.marker());
      expect(after.machine.tableRows()).toEqual(before.machine.tableRows());
      for (const { id } of before.machine.lessor.list()) {
        expect(after.machine.lessor.keys(id)).toEqual(before.machine.lessor.keys(id));
      }
      for (const entry of entries.slice(stop)) after.replay(entry);
      for (const each of [first, after]) each.collect();
      expect(after.machine.marker()).toEqual(first.machine.marker());
      expect(after.machine.tableRows()).toEqual(first.machine.tableRows());
    }),
    { numRuns: 120 },
  );
});

test('every attached key is there with that lease, and every key with a lease is attached', () => {
  fc.assert(
    fc.property(log, (steps) => {
      const { store, lessor } = written(steps).machine;
      const attached = lessor
        .list()
        .flatMap(({ id }) => lessor.keys(id).map((name) => [name.toString('hex'), id]));
      const stored = store
        .range(range('\0', '\0'))
        .kvs.filter((kv) => kv.lease !== 0n)
        .map((kv) => [kv.key.toString('hex'), kv.lease]);
      expect(new Map(attached as [string, bigint][])).toEqual(new Map(stored as [string, bigint][]));
      expect(attached).toHaveLength(stored.length);
    }),
    { numRuns: 120 },
  );
});

test('the running hash tells where two logs part', () => {
  const [one, two] = [new MachineHarness(), new MachineHarness()];
  one.ok(put('k', '1'));
  two.ok(put('k', '1'));
  expect(one.machine.marker().applyHash).toEqual(two.machine.marker().applyHash);
  one.ok(put('k', '2'));
  two.ok(put('k', '3'));
  const [a, b] = [one.machine.marker().applyHash, two.machine.marker().applyHash];
  expect(a.a).not.toBe(b.a);
  expect(a.b).not.toBe(b.b);
});

test('the running hash tells outcomes apart when the entries are equal', () => {
  const [one, two] = [new MachineHarness(), new MachineHarness()];
  // The second has a divergent past that nothing in its hash but the next outcome shows.
  two.machine.lessor.grant({ id: 1n, ttlSeconds: 5, remainingSeconds: 0, grantedAt: 0 });
  const grant: Operation = { type: 'lease-grant', id: 1n, ttlSeconds: 5 };
  expect(one.apply(grant).outcome.ok).toBe(true);
  expect(two.apply(grant).outcome.ok).toBe(false);
  expect(one.machine.marker().applyHash).not.toEqual(two.machine.marker().applyHash);
});

test('the running hash tells failures apart', () => {
  const [one, two] = [new MachineHarness(), new MachineHarness()];
  one.machine.alarms.activate({ member: 1, alarm: 'no-space' });
  two.machine.alarms.activate({ member: 1, alarm: 'corrupt' });
  expect(one.apply(put('k')).outcome).toEqual({ ok: false, code: 'no-space' });
  expect(two.apply(put('k')).outcome).toEqual({ ok: false, code: 'corrupt' });
  expect(one.machine.marker().applyHash).not.toEqual(two.machine.marker().applyHash);
});
