import { expect, test } from 'vitest';
import type { Json } from '../../src/service/model.ts';
import { failure } from './failure.ts';
import { failingAfterOne } from './kv-wrappers.ts';
import { ada, inWorld, named } from './world.ts';

const scope = { tenant: 'default', environment: 'production', application: 'pay' };
const valuesOf = (count: number, json: Json = 1): ReadonlyMap<string, Json> =>
  new Map(Array.from({ length: count }, (_, at) => [`k${String(at).padStart(3, '0')}`, json]));

test('puts what differs, leaves what is the same, and keeps types, schemas and secrets', async () => {
  await inWorld(async ({ service }) => {
    const create = (key: string, more: object) =>
      service.configurations.create(ada, { name: named(key), value: { json: 1 }, ...more });
    await create('a', { type: 'float', schema: '{"maximum":5}' });
    await create('same', {});
    await create('password', { type: 'secret', value: { text: 'old' } });
    await create('old', {});
    const values = new Map<string, Json>([
      ['a', 2],
      ['same', 1],
      ['password', 'hunter2'],
      ['new', { x: 1 }],
    ]);
    const request = { scope, values, deleteMissing: true, changeSet: 'import-1' };
    const dry = await service.importing.import(ada, { ...request, dryRun: true });
    const expected = [
      ['a', 'updated'],
      ['new', 'created'],
      ['password', 'updated'],
      ['same', 'unchanged'],
      ['old', 'deleted'],
    ];
    expect(dry.items.map(({ type, after }) => [after.key, type])).toEqual(expected);
    expect(dry.changeIds).toEqual([]);
    expect((await service.reads.get(ada, { ref: named('a') })).result.version).toBe(1);
    const done = await service.importing.import(ada, request);
    expect(done.items.map(({ type, after }) => [after.key, type])).toEqual(expected);
    expect(done.changeIds).toHaveLength(2);
    expect((await service.reads.get(ada, { ref: named('a') })).result).toMatchObject({
      value: { type: 'float', json: 2 },
      schema: '{"maximum":5}',
    });
    expect((await service.reads.get(ada, { ref: named('password') })).result.value.isMasked).toBe(true);
    await service.changeSets.rollback(ada, { tenant: 'default', name: 'import-1' });
    expect((await service.reads.get(ada, { ref: named('a') })).result.value.json).toBe(1);
  });
});

test('nothing is changed when something is wrong, and all that is wrong is named', async () => {
  await inWorld(async ({ service }) => {
    const wrong = new Map([...valuesOf(2), ['a b', 1], ['c//d', 1]] as const);
    await expect(service.importing.import(ada, { scope, values: wrong })).rejects.toEqual(
      failure('invalid', 'values/a b/key', 'values/c//d/key'),
    );
    await service.configurations.create(ada, {
      name: named('k099'),
      value: { json: 1 },
      schema: '{"maximum":5}',
    });
    await expect(service.importing.import(ada, { scope, values: valuesOf(100, 9) })).rejects.toEqual(
      failure('invalid', 'values/k099/value'),
    );
    expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(1);
  });
});

test('goes in several transactions, tells how far it is, and goes on where it stopped', async () => {
  let fail = false;
  await inWorld(
    async ({ service }) => {
      const request = { scope, values: valuesOf(100), idempotencyKey: 'once' };
      fail = true;
      await expect(service.importing.import(ada, request)).rejects.toEqual(failure('unavailable'));
      fail = false;
      expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(40);
      const progress: string[] = [];
      const onProgress = (done: number, total: number) => progress.push(`${done}/${total}`);
      const rest = await service.importing.import(ada, { ...request, onProgress });
      expect(progress).toEqual(['40/100', '80/100', '100/100']);
      expect(rest.changeIds).toHaveLength(3);
      const { result } = await service.reads.list(ada, { tenant: 'default', size: 1_000 });
      expect(result.items.map(({ version }) => version)).toEqual(Array.from({ length: 100 }, () => 1));
      const large = new Map(['x', 'y', 'z'].map((key) => [key, 'v'.repeat(500 * 1024)]));
      expect((await service.importing.import(ada, { scope, values: large })).changeIds).toHaveLength(3);
    },
    { wrap: (kv) => failingAfterOne(kv, () => fail) },
  );
});

test('an idempotency key may be as long as any, whatever the parts of an import', async () => {
  await inWorld(async ({ service }) => {
    const scope = { tenant: 'default', environment: 'production', application: 'pay' };
    const answer = await service.importing.import(ada, {
      scope,
      values: new Map([['a', 1]]),
      idempotencyKey: 'k'.repeat(255),
    });
    expect(answer.changeIds).toHaveLength(1);
  });
});
