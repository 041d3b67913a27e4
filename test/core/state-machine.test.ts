import { describe, expect, test } from 'vitest';
import { ALARMS_MAX } from '../../src/core/alarms.ts';
import type { Operation } from '../../src/core/command.ts';
import { LEASE_TTL_SECONDS_MAX } from '../../src/core/lease/lease.ts';
import { StateMachine } from '../../src/core/state-machine.ts';
import { AssertionError } from '../../src/lib/assert.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { command, MachineHarness, member } from './machine-fixture.ts';
import { bytes, codeOf, compare, MemorySource, put, range, remove, txn } from './mvcc/fixture.ts';

const grant = (id: bigint, ttlSeconds = 60): Operation => ({ type: 'lease-grant', id, ttlSeconds });
const revoke = (id: bigint): Operation => ({ type: 'lease-revoke', id });
const expire = (term: number, ...ids: bigint[]): Operation => ({ type: 'lease-expire', term, ids });
const alarm = (kind: 'no-space' | 'corrupt', action: 'activate' | 'deactivate' = 'activate'): Operation => ({
  type: 'alarm',
  action,
  member: 2,
  alarm: kind,
});

function keysOf(harness: MachineHarness): string[] {
  return harness.machine.store.range(range('\0', '\0')).kvs.map((kv) => kv.key.toString('latin1'));
}

describe('entries', () => {
  test('a write answers with its result, its proposal, its events and the revision', () => {
    const harness = new MachineHarness();
    const { index, term } = harness.log.add(put('k', 'v'));
    const id = { member: 2, incarnation: 3, seq: 4 };
    const applied = harness.machine.apply({
      index,
      term,
      kind: 'normal',
      data: command(put('k', 'v'), { id }),
    });
    expect(applied).toMatchObject({
      index: 1,
      proposal: id,
      outcome: { ok: true, result: { type: 'put', revision: 2, prevKv: null } },
      revision: 2,
    });
    expect(applied.events).toMatchObject([{ type: 'put', row: { main: 2, sub: 0 } }]);
    expect('confChange' in applied).toBe(false);
  });

  test('empty entries only move the applied index', () => {
    const harness = new MachineHarness();
    const noop = harness.apply(null);
    expect(noop).toMatchObject({
      proposal: null,
      outcome: { ok: true, result: { type: 'none' } },
      revision: 1,
    });
    expect('confChange' in noop).toBe(false);
    expect(harness.apply(null, 'conf-change').confChange).toEqual({ steps: [] });
    expect(harness.machine.marker()).toMatchObject({ appliedIndex: 2, currentRevision: 1 });
  });

  test('a failed command changes nothing but the applied index', () => {
    const harness = new MachineHarness();
    harness.ok(put('k'));
    expect(harness.refused(put('k', '', { lease: 7n }))).toBe('lease-not-found');
    expect(harness.refused(txn([], [put('a'), put('b', '', { lease: 7n })]))).toBe('lease-not-found');
    expect(harness.refused(put('x', '', { ignoreValue: true }))).toBe('key-not-found');
    expect(harness.refused(put(''))).toBe('empty-key');
    expect(harness.refused({ type: 'compact', revision: 9 })).toBe('future-revision');
    expect(harness.refused(txn([], [put('a'), range('k', '', { revision: 99 })]))).toBe('future-revision');
    expect(keysOf(harness)).toEqual(['k']);
  });

  test('bytes that are no command, gaps and kinds that do not fit are bugs', () => {
    const at = (index: number) => ({ index, term: 1, kind: 'normal' as const, data: command(put('k')) });
    const machine = () => new MachineHarness().machine;
    expect(() => machine().apply({ ...at(1), data: Buffer.of(0xc1) })).toThrow(AssertionError);
    expect(() => machine().apply(at(2))).toThrow(AssertionError);
    expect(() => machine().apply({ ...at(1), kind: 'conf-change' })).toThrow(AssertionError);
    const promote = command({ type: 'member-promote', id: 1 });
    expect(() => machine().apply({ ...at(1), data: promote })).toThrow(AssertionError);
  });

  test('the same proposal twice is applied twice', () => {
    const harness = new MachineHarness();
    const data = command(put('k'), { id: { member: 1, incarnation: 1, seq: 1 } });
    harness.machine.apply({ index: 1, term: 1, kind: 'normal', data });
    const { revision } = harness.machine.apply({ index: 2, term: 1, kind: 'normal', data });
    expect(revision).toBe(3);
  });

  test('a compaction is an outcome, and old reads in later commands fail alike', () => {
    const harness = new MachineHarness();
    harness.ok(put('k', '1'));
    harness.ok(put('k', '2'));
    expect(harness.ok({ type: 'compact', revision: 3 })).toEqual({ type: 'compact' });
    expect(harness.refused({ type: 'compact', revision: 2 })).toBe('compacted');
    expect(harness.refused(txn([], [put('a'), range('k', '', { revision: 2 })]))).toBe('compacted');
  });

  test('a disk that fails is no answer', () => {
    const source = {
      row: (): undefined => {
        throw new StoreError('storage');
      },
    };
    const machine = new StateMachine({ source, cacheBytesMax: 0, bootstrapMembers: [] });
    machine.apply({ index: 1, term: 1, kind: 'normal', data: command(put('k')) });
    machine.takeBatch();
    const second = {
      index: 2,
      term: 1,
      kind: 'normal' as const,
      data: command(put('k', '', { prevKv: true })),
    };
    expect(codeOf(() => machine.apply(second))).toBe('storage');
  });
});

describe('leases', () => {
  test('are granted once, within bounds', () => {
    const harness = new MachineHarness();
    expect(harness.ok(grant(-5n, 7))).toEqual({ type: 'lease-grant', id: -5n, ttlSeconds: 7 });
    expect(harness.refused(grant(-5n, 7))).toBe('lease-exists');
    expect(harness.refused(grant(0n))).toBe('lease-not-found');
    expect(harness.refused(grant(6n, LEASE_TTL_SECONDS_MAX + 1))).toBe('lease-ttl-too-large');
    expect(harness.refused(grant(6n, 0))).toBe('lease-ttl-too-small');
    harness.ok(grant(6n, LEASE_TTL_SECONDS_MAX));
    expect(harness.refused(revoke(99n))).toBe('lease-not-found');
  });

  test('are as many as may be, and one that ends makes room', () => {
    const harness = new MachineHarness([member(1)], { leasesMax: 2 });
    harness.ok(grant(1n));
    harness.ok(grant(2n));
    expect(harness.refused(grant(3n))).toBe('too-many-requests');
    expect(harness.refused(grant(2n))).toBe('lease-exists');
    harness.ok(revoke(1n));
    harness.ok(grant(3n));
  });

  test('take their keys with them, in one revision, in byte order', () => {
    const harness = new MachineHarness();
    harness.ok(grant(1n));
    for (const key of ['\xff', 'b', 'a', 'a\0']) harness.ok(put(key, '', { lease: 1n }));
    harness.ok(put('other'));
    const { events, revision } = harness.apply(revoke(1n));
    expect(events.map(({ type, row }) => [type, row.key, row.main, row.sub])).toEqual(
      ['a', 'a\0', 'b', '\xff'].map((key, sub) => ['delete', bytes(key), revision, sub]),
    );
    expect(revision).toBe(7);
    expect(keysOf(harness)).toEqual(['other']);
    expect(harness.refused(revoke(1n))).toBe('lease-not-found');
  });

  test('without keys leave the revision alone', () => {
    const harness = new MachineHarness();
    harness.ok(grant(1n));
    expect(harness.apply(revoke(1n))).toMatchObject({ outcome: { ok: true }, revision: 1, events: [] });
  });

  test('let go of keys that are deleted, or written with another lease or none', () => {
    const harness = new MachineHarness();
    const { lessor } = harness.machine;
    harness.ok(grant(1n));
    harness.ok(grant(2n));
    for (const key of ['a', 'b', 'c', 'd', 'e']) harness.ok(put(key, '', { lease: 1n }));
    harness.ok(remove('a'));
    harness.ok(put('b'));
    harness.ok(put('c', '', { lease: 2n }));
    harness.ok(put('d', 'new', { ignoreLease: true }));
    harness.ok(put('e', 'new', { lease: 1n }));
    expect(lessor.keys(1n)).toEqual([bytes('d'), bytes('e')]);
    expect(lessor.keys(2n)).toEqual([bytes('c')]);
    harness.ok(revoke(1n));
    expect(keysOf(harness)).toEqual(['b', 'c']);
  });

  test('expire each in a revision of its own, unknown ones are skipped', () => {
    const harness = new MachineHarness();
    for (const id of [1n, 2n]) {
      harness.ok(grant(id));
      harness.ok(put(`k${id}`, '', { lease: id }));
    }
    const applied = harness.apply(expire(1, 2n, 99n, 1n, 2n));
    expect(applied).toMatchObject({ outcome: { result: { revoked: [2n, 1n] } }, revision: 5 });
    expect(applied.events.map(({ row }) => row.main)).toEqual([4, 5]);
  });

  test('do not expire by the clock of a leader whose term is over', () => {
    const harness = new MachineHarness();
    harness.ok(grant(1n));
    harness.ok(put('k', '', { lease: 1n }));
    harness.log.term = 2;
    expect(harness.apply(expire(1, 1n))).toMatchObject({ outcome: { result: { revoked: [] } }, events: [] });
    expect(harness.machine.lessor.has(1n)).toBe(true);
    harness.ok(expire(2, 1n));
    expect(harness.machine.lessor.has(1n)).toBe(false);
  });

  test('remember which entry granted them: one granted anew is another one', () => {
    const harness = new MachineHarness();
    const grantedAt = (): number => harness.machine.lessor.get(1n)!.grantedAt;
    harness.ok(grant(1n));
    const first = grantedAt();
    expect(first).toBe(harness.machine.appliedIndex);
    harness.ok({ type: 'lease-checkpoint', checkpoints: [{ id: 1n, remainingSeconds: 4 }] });
    expect(grantedAt()).toBe(first);
    harness.ok(revoke(1n));
    harness.ok(grant(1n));
    expect(grantedAt()).toBe(first + 3);
    harness.flush();
    expect(harness.restart().machine.lessor.get(1n)).toMatchObject({ grantedAt: first + 3 });
  });

  test('remember their remaining time', () => {
    const harness = new MachineHarness();
    harness.ok(grant(1n, 1_000));
    const checkpoints = [
      { id: 1n, remainingSeconds: 400 },
      { id: 99n, remainingSeconds: 1 },
    ];
    harness.ok({ type: 'lease-checkpoint', checkpoints });
    harness.flush();
    const other = harness.restart();
    other.machine.lessor.promote(0, 0);
    expect(other.machine.lessor.remaining(1n, 0)).toBe(400);
  });
});

describe('alarms', () => {
  test('no-space refuses what grows and lets the rest pass', () => {
    const harness = new MachineHarness();
    harness.ok(grant(1n));
    harness.ok(put('k', '', { lease: 1n }));
    expect(harness.ok(alarm('no-space'))).toEqual({
      type: 'alarm',
      alarms: [{ member: 2, alarm: 'no-space' }],
    });
    expect(harness.refused(put('k'))).toBe('no-space');
    expect(harness.refused(grant(2n))).toBe('no-space');
    expect(harness.refused(txn([], [range('k')], [put('x')]))).toBe('no-space');
    expect(harness.refused(txn([], [txn([], [put('x')])]))).toBe('no-space');
    harness.ok(txn([compare('k', 'equal', { target: 'version', number: 1 })], [range('k')], [remove('k')]));
    harness.ok(remove('x'));
    harness.ok({ type: 'compact', revision: 2 });
    harness.ok(expire(1, 1n));
    harness.ok(alarm('no-space', 'deactivate'));
    harness.ok(put('k'));
  });

  test('corrupt refuses every write until it is lowered', () => {
    const harness = new MachineHarness();
    harness.ok(grant(1n));
    harness.ok(alarm('corrupt'));
    const writes: Operation[] = [
      put('k'),
      remove('k'),
      txn([], [range('k')]),
      { type: 'compact', revision: 1 },
      grant(2n),
      revoke(1n),
      expire(1, 1n),
    ];
    for (const each of writes) expect(harness.refused(each)).toBe('corrupt');
    harness.ok({ type: 'member-remove', id: 3 });
    expect(harness.ok(alarm('corrupt', 'deactivate'))).toMatchObject({ alarms: [{ alarm: 'corrupt' }] });
    expect(harness.ok(alarm('corrupt', 'deactivate'))).toEqual({ type: 'alarm', alarms: [] });
    harness.ok(put('k'));
  });

  test('of ids that nobody has are bounded, those of members are not', () => {
    const harness = new MachineHarness();
    const of = (id: number, action: 'activate' | 'deactivate'): Operation => ({
      type: 'alarm',
      action,
      member: id,
      alarm: 'no-space',
    });
    const strangers = Array.from({ length: ALARMS_MAX }, (_, i) => 100 + i);
    for (const id of strangers) harness.ok(of(id, 'activate'));
    expect(harness.refused(of(99, 'activate'))).toBe('too-many-requests');
    harness.ok(of(1, 'activate'));
    harness.flush();
    const restarted = harness.restart();
    const applied = (operation: Operation) => restarted.replay(harness.log.add(operation)).outcome;
    for (const id of strangers) expect(applied(of(id, 'deactivate'))).toMatchObject({ ok: true });
    expect(applied(put('k'))).toEqual({ ok: false, code: 'no-space' });
    applied(of(1, 'deactivate'));
    expect(applied(put('k'))).toMatchObject({ ok: true });
  });

  test('stay raised as long as one member has them raised', () => {
    const harness = new MachineHarness();
    harness.ok(alarm('no-space'));
    harness.ok(alarm('no-space'));
    harness.ok({ type: 'alarm', action: 'activate', member: 1, alarm: 'no-space' });
    harness.ok(alarm('no-space', 'deactivate'));
    expect(harness.machine.alarms.list()).toEqual([{ member: 1, alarm: 'no-space' }]);
    expect(harness.refused(put('k'))).toBe('no-space');
  });
});

describe('members', () => {
  const add = (id: number, options: Partial<ReturnType<typeof member>> = {}, learner = false): Operation => ({
    type: 'member-add',
    member: member(id, options),
    learner,
  });

  test('the bootstrap members are there at index 0', () => {
    const { machine } = new MachineHarness();
    expect(machine.memberList().map(({ id, isLearner }) => [id, isLearner])).toEqual([
      [1, false],
      [2, false],
      [3, false],
    ]);
    expect(machine.marker().confState).toMatchObject({ voters: [1, 2, 3], learners: [] });
  });

  test('a learner is added, promoted and removed', () => {
    const harness = new MachineHarness();
    const learners = () => harness.machine.memberList().filter(({ isLearner }) => isLearner);
    expect(harness.apply(add(4, {}, true)).confChange).toEqual({ steps: [{ type: 'add-learner', id: 4 }] });
    expect(learners().map(({ id }) => id)).toEqual([4]);
    expect(harness.apply({ type: 'member-promote', id: 4 }).confChange).toEqual({
      steps: [{ type: 'add-voter', id: 4 }],
    });
    expect(learners()).toEqual([]);
    expect(harness.machine.confState.voters).toEqual([1, 2, 3, 4]);
    expect(harness.apply({ type: 'member-remove', id: 4 })).toMatchObject({
      outcome: { ok: true, result: { type: 'member', id: 4 } },
      confChange: { steps: [{ type: 'remove', id: 4 }] },
    });
    expect(harness.machine.memberList()).toHaveLength(3);
    expect(harness.machine.members.wasRemoved(4)).toBe(true);
  });

  test('what is no longer valid at its index is an outcome, and Raft applies nothing', () => {
    const harness = new MachineHarness();
    expect(harness.refused(add(1, { peerUrls: ['http://new'] }))).toBe('member-exists');
    expect(harness.refused(add(4, { peerUrls: ['http://new', 'http://m2:2380'] }))).toBe('peer-url-exists');
    expect(harness.refused(add(4, { peerUrls: [] }))).toBe('member-bad-urls');
    expect(harness.refused({ type: 'member-promote', id: 9 })).toBe('member-not-found');
    expect(harness.refused({ type: 'member-promote', id: 1 })).toBe('member-not-learner');
    expect(harness.refused({ type: 'member-remove', id: 9 })).toBe('member-not-found');
    expect(harness.apply({ type: 'member-remove', id: 9 }).confChange).toBeNull();
  });

  test('a removed id never returns', () => {
    const harness = new MachineHarness();
    harness.ok({ type: 'member-remove', id: 3 });
    expect(harness.refused(add(3))).toBe('member-exists');
    expect(harness.refused({ type: 'member-remove', id: 3 })).toBe('member-not-found');
    harness.flush();
    const other = harness.restart();
    expect(other.machine.members.wasRemoved(3)).toBe(true);
    expect(other.machine.members.refusal(member(3))).toBe('member-exists');
  });

  test('the last voter stays', () => {
    const harness = new MachineHarness([member(1)]);
    harness.ok(add(2, {}, true));
    expect(harness.refused({ type: 'member-remove', id: 1 })).toBe('not-enough-started-members');
    harness.ok({ type: 'member-remove', id: 2 });
  });

  test('nothing changes while a joint configuration is in force', () => {
    const harness = new MachineHarness();
    const joint = {
      voters: [1, 2],
      votersOutgoing: [1, 2, 3],
      learners: [],
      learnersNext: [3],
      autoLeave: true,
    };
    harness.machine.confStateChanged(joint);
    expect(harness.refused(add(4))).toBe('unhealthy');
    expect(harness.machine.memberList().find(({ id }) => id === 3)).toMatchObject({ isLearner: true });
  });

  test('an update changes addresses, a publication the rest', () => {
    const harness = new MachineHarness();
    harness.ok({ type: 'member-publish', id: 2, name: 'two', clientUrls: ['http://c2'] });
    harness.ok({ type: 'member-update', id: 2, peerUrls: ['http://p2'] });
    expect(harness.machine.members.get(2)).toEqual({
      id: 2,
      name: 'two',
      peerUrls: ['http://p2'],
      clientUrls: ['http://c2'],
    });
    expect(harness.refused({ type: 'member-update', id: 2, peerUrls: ['http://m1:2380'] })).toBe(
      'peer-url-exists',
    );
    expect(harness.refused({ type: 'member-update', id: 2, peerUrls: [] })).toBe('member-bad-urls');
    expect(harness.refused({ type: 'member-update', id: 9, peerUrls: ['x'] })).toBe('member-not-found');
    expect(harness.refused({ type: 'member-publish', id: 9, name: '', clientUrls: [] })).toBe(
      'member-not-found',
    );
  });

  test('a member that says where it runs is known by it until it says so no more', () => {
    const harness = new MachineHarness();
    const said = { type: 'member-publish', id: 2, name: 'two', clientUrls: ['http://c2'] } as const;
    harness.ok(said);
    const silent = harness.machine.marker().tableSetHash;
    harness.ok({ ...said, region: 'eu-1' });
    harness.ok({ type: 'member-update', id: 2, peerUrls: ['http://p2'] });
    expect(harness.machine.memberList().find(({ id }) => id === 2)).toMatchObject({ region: 'eu-1' });
    expect(harness.machine.marker().tableSetHash).not.toEqual(silent);
    harness.ok(said);
    harness.ok({ type: 'member-update', id: 2, peerUrls: ['http://m2:2380'] });
    expect(harness.machine.memberList().find(({ id }) => id === 2)).not.toHaveProperty('region');
    expect(harness.machine.marker().tableSetHash).toEqual(silent);
  });

  test('Raft must answer for a change before anything else happens', () => {
    const { machine, log } = new MachineHarness();
    machine.apply(log.add(add(4)));
    expect(() => machine.takeBatch()).toThrow(AssertionError);
    expect(() => machine.apply(log.add(put('k')))).toThrow(AssertionError);
  });
});

describe('batches', () => {
  test('hold everything since the last one, newest table rows only, and the marker after it', () => {
    const harness = new MachineHarness();
    const first = harness.flush();
    expect(first).toMatchObject({ rows: [], marker: { appliedIndex: 0, currentRevision: 1 } });
    expect(first?.tables).toHaveLength(3);
    expect(harness.flush()).toBeNull();
    harness.ok(put('a'));
    harness.ok(grant(1n));
    harness.ok(txn([], [put('b', '', { lease: 1n }), put('c')]));
    harness.ok(revoke(1n));
    const batch = harness.flush()!;
    expect(batch.rows.map(({ main, sub }) => [main, sub])).toEqual([
      [2, 0],
      [3, 0],
      [3, 1],
      [4, 0],
    ]);
    expect(batch.tables).toMatchObject([{ table: 'lease', value: null }]);
    expect(batch.marker).toEqual(harness.machine.marker());
    expect(harness.flush()).toBeNull();
  });

  test('every kind of entry moves the marker', () => {
    const harness = new MachineHarness();
    harness.flush();
    for (const operation of [null, put(''), alarm('no-space'), grant(1n)]) {
      harness.apply(operation);
      expect(harness.flush()?.marker.appliedIndex).toBe(harness.log.entries.length);
    }
  });

  test('the end of a compaction is a batch of its own', () => {
    const harness = new MachineHarness();
    harness.ok(put('k', '1'));
    harness.ok(put('k', '2'));
    harness.ok({ type: 'compact', revision: 3 });
    expect(harness.flush()?.marker).toMatchObject({ compactRevision: 3, rowCount: 2 });
    while (harness.machine.store.compactionPending) harness.machine.store.compactionStep(10);
    expect(harness.flush()?.marker).toMatchObject({ hashCompactRevision: 3, rowCount: 1 });
  });

  test('rows of the open batch can be read before any disk has them', () => {
    const machine = new StateMachine({ source: new MemorySource(), cacheBytesMax: 0, bootstrapMembers: [] });
    machine.apply({ index: 1, term: 1, kind: 'normal', data: command(put('k', 'v')) });
    expect(machine.store.range(range('k')).kvs[0]?.value).toEqual(bytes('v'));
  });
});

describe('restore', () => {
  function used(): MachineHarness {
    const harness = new MachineHarness();
    harness.ok(grant(1n));
    harness.ok(put('k', '1', { lease: 1n }));
    harness.ok(put('l', '1', { lease: 1n }));
    harness.ok(put('l', '2'));
    harness.ok(alarm('no-space'));
    harness.ok({ type: 'member-remove', id: 3 });
    harness.flush();
    return harness;
  }

  test('gives an equal state, leases with their keys included', () => {
    const harness = used();
    const other = harness.restart();
    expect(other.machine.marker()).toEqual(harness.machine.marker());
    expect(other.machine.tableRows()).toEqual(harness.machine.tableRows());
    expect(other.machine.lessor.keys(1n)).toEqual([bytes('k')]);
    expect(other.machine.members.wasRemoved(3)).toBe(true);
    expect(other.flush()).toBeNull();
  });

  test('refuses a state whose rows or tables are not what was written', () => {
    const lost = used();
    lost.disk.rows.delete('2/0');
    expect(codeOf(() => lost.restart())).toBe('data-dir-corrupt');
    const forged = used();
    const [name, row] = [...forged.tables].find(([, { table }]) => table === 'alarm')!;
    forged.tables.delete(name);
    expect(codeOf(() => forged.restart())).toBe('data-dir-corrupt');
    forged.tables.set(name, { ...row, id: Buffer.of(1) });
    expect(codeOf(() => forged.restart())).toBe('data-dir-corrupt');
    forged.tables.set(name, { ...row, value: Buffer.of(0xc1) });
    expect(codeOf(() => forged.restart())).toBe('data-dir-corrupt');
  });

  test('refuses keys whose lease is missing', () => {
    const harness = used();
    const [name, row] = [...harness.tables].find(([, { table }]) => table === 'lease')!;
    harness.tables.delete(name);
    harness.durable = { ...harness.durable!, tableSetHash: withoutRow(harness, row) };
    expect(codeOf(() => harness.restart())).toBe('data-dir-corrupt');
  });

  /** The hash a member would have written had the row never been there. */
  function withoutRow(harness: MachineHarness, row: { readonly value: Buffer | null }) {
    const copy = new MachineHarness([]);
    for (const each of harness.tables.values())
      if (each !== row && each.value !== null) copy.machine.table(each);
    return copy.machine.marker().tableSetHash;
  }

  test('is for states that were not used', () => {
    const harness = used();
    expect(() => harness.machine.row(harness.disk.all()[0]!)).toThrow(AssertionError);
  });
});
