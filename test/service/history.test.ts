import { describe, expect, test } from 'vitest';
import { failure } from './failure.ts';
import { failingAfterOne } from './kv-wrappers.ts';
import { ada, inWorld, named, type World } from './world.ts';

const NAME = named('a');

/** Versions 1 to `count`, whose values are their numbers, a minute apart from each other. */
async function versions({ service, clock }: World, count: number): Promise<readonly number[]> {
  const revisions: number[] = [];
  for (let at = 1; at <= count; at += 1) {
    const made = await service.configurations.put(ada, { name: NAME, value: { json: at }, reason: `v${at}` });
    revisions.push(made.revision);
    clock.advance(60_000);
  }
  return revisions;
}

test('versions come newest first, page by page, also of what was deleted', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    const revisions = await versions(world, 5);
    await service.configurations.delete(ada, { ref: NAME, reason: 'no more' });
    const page = async (request: object) =>
      (await service.history.versions(ada, { ref: NAME, ...request })).result;
    const first = await page({ size: 4 });
    expect(
      first.items.map(({ version, value, isDeleted, reason }) => [version, value.json, isDeleted, reason]),
    ).toEqual([
      [6, 5, true, 'no more'],
      [5, 5, false, 'v5'],
      [4, 4, false, 'v4'],
      [3, 3, false, 'v3'],
    ]);
    expect(first.items[1]!.revision).toBe(revisions[4]);
    const second = await page({ size: 4, before: first.next! });
    expect(second.items.map(({ version }) => version)).toEqual([2, 1]);
    expect(second.next).toBeNull();
    expect((await service.history.version(ada, { ref: NAME, version: 2 })).result).toEqual(second.items[0]);
    await expect(service.history.version(ada, { ref: NAME, version: 7 })).rejects.toEqual(
      failure('not-found', 'version'),
    );
    await expect(page({ ref: named('none') })).rejects.toEqual(failure('not-found'));
    await expect(page({ size: 0 })).rejects.toEqual(failure('invalid', 'size'));
  });
});

test('a rollback makes a new version of everything that an old one held', async () => {
  await inWorld(async ({ service }) => {
    const create = {
      name: NAME,
      value: { json: 'x' },
      tags: ['t'],
      description: 'd',
      schema: '{"type":"string"}',
    };
    await service.configurations.create(ada, create);
    await service.configurations.update(ada, {
      ref: NAME,
      value: { json: 5 },
      type: 'integer',
      tags: [],
      description: '',
      schema: null,
    });
    const etag = (await service.reads.get(ada, { ref: NAME })).result.etag;
    const back = await service.history.rollback(ada, {
      ref: NAME,
      version: 1,
      ifMatch: [etag],
      reason: 'oops',
    });
    expect(back.items[0]!.after).toMatchObject({
      version: 3,
      value: { type: 'string', json: 'x' },
      tags: ['t'],
      description: 'd',
      schema: '{"type":"string"}',
    });
    await expect(service.history.rollback(ada, { ref: NAME, version: 2, ifMatch: [etag] })).rejects.toEqual(
      failure('precondition-failed'),
    );
    await expect(service.history.rollback(ada, { ref: NAME, version: 9 })).rejects.toEqual(
      failure('not-found', 'version'),
    );
    await service.configurations.delete(ada, { ref: NAME });
    await expect(service.history.rollback(ada, { ref: NAME, version: 1 })).rejects.toEqual(
      failure('not-found'),
    );
    await service.configurations.undelete(ada, { ref: NAME });
    await expect(service.history.rollback(ada, { ref: NAME, version: 4 })).rejects.toEqual(
      failure('invalid', 'version'),
    );
  });
});

test('as of a time, or of a revision, it is what it was then', async () => {
  await inWorld(async (world) => {
    const { service, memory } = world;
    const revisions = await versions(world, 40);
    await service.configurations.delete(ada, { ref: NAME });
    // Versions do not need the store's history.
    memory.compact(revisions[39]!);
    const at = async (point: { time: string } | { revision: number }) =>
      (await service.history.asOf(ada, { ref: NAME, at: point })).result.version;
    expect(await at({ time: '2026-03-01T00:00:00.000Z' })).toBe(1);
    expect(await at({ time: '2026-03-01T00:20:30.000Z' })).toBe(21);
    expect(await at({ revision: revisions[6]! })).toBe(7);
    expect(await at({ revision: revisions[39]! })).toBe(40);
    await expect(at({ time: '2026-02-01T00:00:00Z' })).rejects.toEqual(failure('not-found'));
    await expect(at({ revision: 1 })).rejects.toEqual(failure('not-found'));
    await expect(at({ time: '2026-03-02T00:00:00Z' })).rejects.toEqual(failure('not-found'));
    await expect(at({ time: 'yesterday' })).rejects.toEqual(failure('invalid', 'time'));
  });
});

test('an application is shown whole, as of a time', async () => {
  await inWorld(async (world) => {
    const { service, clock } = world;
    await versions(world, 3);
    const b = await service.configurations.create(ada, { name: named('b'), value: { json: 'b' } });
    clock.advance(60_000);
    await service.configurations.delete(ada, { ref: named('b') });
    const scope = { tenant: 'default', environment: 'production', application: 'pay' };
    const at = async (point: { time: string } | { revision: number }) =>
      (await service.history.allAsOf(ada, { scope, at: point })).result.map(
        ({ key, version }) => `${key}${version}`,
      );
    expect(await at({ time: '2026-03-01T00:01:30Z' })).toEqual(['a2']);
    expect(await at({ revision: b.revision })).toEqual(['a3', 'b1']);
    expect(await at({ revision: b.revision + 1 })).toEqual(['a3']);
    await expect(
      service.history.allAsOf(ada, { scope: { ...scope, application: 'none' }, at: { revision: 1 } }),
    ).rejects.toEqual(failure('not-found', 'application'));
  });
});

describe('comparison', () => {
  test('of versions: the value in both ways, and every other field', async () => {
    await inWorld(async ({ service }) => {
      await service.configurations.create(ada, { name: NAME, value: { json: { x: 1, y: 2 } } });
      await service.configurations.update(ada, { ref: NAME, value: { json: { x: 1, y: 3 } }, tags: ['t'] });
      const { result } = await service.comparisons.versions(ada, {
        left: { ref: NAME, version: 1 },
        right: { ref: NAME },
      });
      expect(result).toMatchObject({
        isEqual: false,
        isValueEqual: false,
        left: { version: 1 },
        right: { version: 2 },
        value: { patch: [{ op: 'replace', path: '/y', value: 3 }] },
        fields: [{ name: 'tags', before: [], after: ['t'] }],
      });
      const same = await service.comparisons.versions(ada, {
        left: { ref: NAME },
        right: { ref: NAME, version: 2 },
      });
      expect(same.result.isEqual).toBe(true);
    });
  });

  test('of secrets says whether they are equal, and no more', async () => {
    await inWorld(async ({ service }) => {
      const other = named('b');
      for (const name of [NAME, other]) {
        await service.configurations.create(ada, { name, type: 'secret', value: { text: 'hunter2' } });
      }
      const compare = async () =>
        (await service.comparisons.versions(ada, { left: { ref: NAME }, right: { ref: other } })).result;
      expect(await compare()).toMatchObject({ value: null, isValueEqual: true });
      await service.configurations.update(ada, { ref: other, value: { text: 'hunter3' } });
      expect(await compare()).toMatchObject({ value: null, isValueEqual: false });
      expect(JSON.stringify(await compare())).not.toContain('hunter');
    });
  });

  test('of environments shows what differs', async () => {
    await inWorld(async ({ service }) => {
      const put = (key: string, environment: string, json: number) =>
        service.configurations.put(ada, { name: named(key, { environment }), value: { json } });
      await put('a', 'test', 1);
      await put('a', 'production', 2);
      await put('b', 'test', 1);
      await put('c', 'production', 1);
      await put('d', 'test', 1);
      await put('d', 'production', 1);
      const { result } = await service.comparisons.environments(ada, {
        tenant: 'default',
        application: 'pay',
        left: 'test',
        right: 'production',
      });
      expect(result.items.map(({ key, type }) => [key, type])).toEqual([
        ['a', 'changed'],
        ['b', 'removed'],
        ['c', 'added'],
      ]);
    });
  });
});

describe('merge', () => {
  test('joins what both sides changed, and shows what they disagree on', async () => {
    await inWorld(async ({ service }) => {
      await service.configurations.create(ada, { name: NAME, value: { json: { x: 1, y: 1, z: 1 } } });
      await service.configurations.update(ada, { ref: NAME, value: { json: { x: 2, y: 2, z: 1 } } });
      const merge = (json: object, more: object = {}) =>
        service.merging.merge(ada, {
          ref: NAME,
          base: 1,
          theirs: { value: { json: json as never } },
          ...more,
        });
      const clash = await merge({ x: 3, y: 1, z: 3 });
      expect(clash).toEqual({
        merged: { x: 2, y: 2, z: 3 },
        conflicts: [{ pointer: '/x', base: 1, ours: 2, theirs: 3 }],
        written: null,
      });
      const dry = await merge({ x: 3, y: 1, z: 3 }, { strategy: 'theirs', dryRun: true });
      expect(dry.written).toMatchObject({ changeId: null });
      expect((await service.reads.get(ada, { ref: NAME })).result.version).toBe(2);
      const done = await merge({ x: 1, y: 1, z: 3 });
      expect(done).toMatchObject({
        conflicts: [],
        written: {
          items: [{ type: 'updated', after: { version: 3, value: { json: { x: 2, y: 2, z: 3 } } } }],
        },
      });
      const ours = await service.merging.merge(ada, {
        ref: NAME,
        base: 1,
        theirs: { version: 1 },
        strategy: 'ours',
      });
      expect(ours).toMatchObject({ conflicts: [], written: { items: [{ type: 'unchanged' }] } });
    });
  });

  test('refuses secrets, whose conflicts would show them', async () => {
    await inWorld(async ({ service }) => {
      await service.configurations.create(ada, { name: NAME, type: 'secret', value: { text: 'x' } });
      const request = { ref: NAME, base: 1, theirs: { value: { json: 'y' } } };
      await expect(service.merging.merge(ada, request)).rejects.toEqual(failure('invalid', 'ref'));
    });
  });
});

describe('promotion', () => {
  test('takes what differs, and deletes what is missing when asked to', async () => {
    await inWorld(async ({ service }) => {
      const put = (key: string, environment: string, more: object) =>
        service.configurations.put(ada, { name: named(key, { environment }), value: { json: 1 }, ...more });
      await put('a', 'staging', { tags: ['t'], schema: '{"type":"integer"}' });
      await put('p', 'staging', { type: 'secret', value: { text: 'hunter2' } });
      await put('s', 'staging', {});
      await put('s', 'production', {});
      await put('old', 'production', {});
      const promote = (more: object = {}) =>
        service.promotion.promote(ada, {
          tenant: 'default',
          application: 'pay',
          from: 'staging',
          to: 'production',
          ...more,
        });
      const dry = await promote({ dryRun: true, deleteMissing: true });
      expect(dry.items.map(({ type, after }) => [after.key, type])).toEqual([
        ['a', 'created'],
        ['old', 'deleted'],
        ['p', 'created'],
        ['s', 'unchanged'],
      ]);
      await expect(service.reads.get(ada, { ref: NAME })).rejects.toEqual(failure('not-found'));
      await expect(promote({ keys: ['a', 'none'] })).rejects.toEqual(failure('not-found', 'keys/1'));
      const done = await promote({ deleteMissing: true });
      expect(done.items[0]!.after).toMatchObject({ tags: ['t'], schema: '{"type":"integer"}', version: 1 });
      const secret = await service.reads.lookup(ada, { name: named('p'), reveal: true });
      expect(secret.result.value.json).toBe('hunter2');
      expect(await promote({ deleteMissing: true })).toMatchObject({ changeId: null });
    });
  });
});

describe('change sets', () => {
  const set = { tenant: 'default', name: 'release-1' };

  test('are rolled back whole, once', async () => {
    await inWorld(async ({ service }) => {
      const put = (key: string, json: number, changeSet: string | null = 'release-1') =>
        service.configurations.put(ada, { name: named(key), value: { json }, changeSet });
      await put('a', 1, null);
      await put('gone', 1, null);
      await put('a', 2);
      await put('a', 3);
      await put('b', 1);
      await service.configurations.delete(ada, { ref: named('gone'), changeSet: 'release-1' });
      const { result } = await service.changeSets.get(ada, set);
      expect(result.changes).toHaveLength(4);
      expect(result.items.map(({ key, before, after }) => [key, before, after])).toEqual([
        ['a', 1, 3],
        ['b', 0, 1],
        ['gone', 1, 2],
      ]);
      await put('a', 4, null);
      await expect(service.changeSets.rollback(ada, set)).rejects.toEqual(failure('conflict', 'a'));
      await put('a', 1, null);
      const back = await service.changeSets.rollback(ada, set);
      expect(back.changeIds).toHaveLength(1);
      expect(back.items.map(({ type, after }) => [after.key, type])).toEqual([
        ['b', 'deleted'],
        ['gone', 'created'],
      ]);
      expect((await service.changeSets.get(ada, set)).result.rolledBackAt).not.toBeNull();
      await expect(service.changeSets.rollback(ada, set)).rejects.toEqual(failure('conflict'));
      await expect(put('c', 1)).rejects.toEqual(failure('conflict'));
      await expect(service.changeSets.get(ada, { ...set, name: 'none' })).rejects.toEqual(
        failure('not-found'),
      );
    });
  });

  test('of more than one transaction go back in several, and a request that stopped halfway goes on', async () => {
    let fail = false;
    await inWorld(
      async ({ service }) => {
        for (const from of [0, 40]) {
          const items = Array.from({ length: 40 }, (_, at) => ({
            action: 'put' as const,
            ref: named(`k${from + at}`),
            value: { json: 1 },
          }));
          await service.configurations.bulk(ada, { tenant: 'default', items, changeSet: 'release-1' });
        }
        fail = true;
        await expect(service.changeSets.rollback(ada, set)).rejects.toEqual(failure('unavailable'));
        expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(40);
        fail = false;
        const rest = await service.changeSets.rollback(ada, set);
        expect(rest.items).toHaveLength(40);
        expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(0);
      },
      { wrap: (kv) => failingAfterOne(kv, () => fail) },
    );
  });

  test('that stopped halfway go on under their idempotency key, too', async () => {
    let fail = false;
    await inWorld(
      async ({ service }) => {
        for (const from of [0, 40]) {
          const items = Array.from({ length: 40 }, (_, at) => ({
            action: 'put' as const,
            ref: named(`k${from + at}`),
            value: { json: 1 },
          }));
          await service.configurations.bulk(ada, { tenant: 'default', items, changeSet: 'release-1' });
        }
        fail = true;
        const request = { ...set, idempotencyKey: 'again' };
        await expect(service.changeSets.rollback(ada, request)).rejects.toEqual(failure('unavailable'));
        fail = false;
        await service.changeSets.rollback(ada, request);
        expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(0);
      },
      { wrap: (kv) => failingAfterOne(kv, () => fail) },
    );
  });

  test('take no more changes, but answer again what they took', async () => {
    await inWorld(async ({ service }) => {
      const put = (json: number, more: object = {}) =>
        service.configurations.put(ada, { name: named('a'), value: { json }, ...more });
      await put(1);
      const first = await put(2, { changeSet: 'release-1', idempotencyKey: 'k' });
      await service.changeSets.rollback(ada, set);
      expect(await put(2, { changeSet: 'release-1', idempotencyKey: 'k' })).toMatchObject({
        changeId: first.changeId,
        isRepeated: true,
      });
    });
  });

  test('that were rolled back are left alone, also by force', async () => {
    await inWorld(async ({ service }) => {
      const bulk = (json: number, from: number, changeSet: string | null) =>
        service.configurations.bulk(ada, {
          tenant: 'default',
          changeSet,
          items: Array.from({ length: 40 }, (_, at) => ({
            action: 'put' as const,
            ref: named(`k${from + at}`),
            value: { json },
          })),
        });
      await bulk(1, 0, 'release-1');
      await bulk(1, 40, 'release-1');
      await service.changeSets.rollback(ada, set);
      await bulk(2, 0, null);
      await bulk(2, 40, null);
      await expect(service.changeSets.rollback(ada, { ...set, force: true })).rejects.toEqual(
        failure('conflict'),
      );
      expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(80);
    });
  });
});
