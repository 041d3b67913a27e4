import { describe, expect, test } from 'vitest';
import type { MemoryKv } from '../../src/kv/memory-kv.ts';
import { failure } from './failure.ts';
import { ada, inWorld, named, plainValue, type World } from './world.ts';

const PLAIN = '/default/production/pay/';

/** What a plain client does: puts a text, or deletes with null. */
async function outside(memory: MemoryKv, key: string, text: string | null): Promise<void> {
  const plain = Buffer.from(PLAIN + key);
  await memory.txn(
    {
      compare: [],
      success: [
        text === null
          ? { type: 'delete', key: plain }
          : { type: 'put', key: plain, value: Buffer.from(text) },
      ],
      failure: [],
    },
    { principal: { type: 'anonymous' }, signal: ada.signal },
  );
}

/** `changed`, `missing`, `same` and a secret are there; `unmanaged` is not, and `rewritten` says the same in other bytes. */
async function drifted({ service, memory }: World): Promise<void> {
  for (const key of ['changed', 'missing', 'same', 'rewritten']) {
    await service.configurations.create(ada, { name: named(key), value: { json: { n: 1 } } });
  }
  await service.configurations.create(ada, {
    name: named('secret'),
    type: 'secret',
    value: { text: 'hunter2' },
  });
  await outside(memory, 'changed', '{"n": 2}');
  await outside(memory, 'missing', null);
  await outside(memory, 'rewritten', ' {"n":1}');
  await outside(memory, 'secret', '"hunter3"');
  await outside(memory, 'unmanaged', 'just text');
  await outside(memory, 'no/configuration', '1');
}

const drifts = async ({ service }: World, more: object = {}) =>
  (await service.drifts.list(ada, { tenant: 'default', ...more })).result.items.map(
    ({ key, type, expected, actual }) => [key, type, expected?.json ?? null, actual?.json ?? null],
  );
const names = ['changed', 'missing', 'same', 'secret', 'unmanaged'].map((key) => named(key));

test('shows what was changed past the service, and no secret', async () => {
  await inWorld(async (world) => {
    await drifted(world);
    const found = [
      ['changed', 'changed', { n: 1 }, { n: 2 }],
      ['missing', 'missing', { n: 1 }, null],
      ['secret', 'changed', '********', '********'],
      ['unmanaged', 'unmanaged', null, 'just text'],
    ];
    expect(await drifts(world)).toEqual(found);
    expect(await drifts(world, { environment: 'production', application: 'pay' })).toEqual(found);
    expect(await drifts(world, { environment: 'test' })).toEqual([]);
    expect(await drifts(world, { environment: 'production', application: 'other' })).toEqual([]);
  });
});

test('adopts it: new versions, a deletion, a new configuration', async () => {
  await inWorld(async (world) => {
    const { service, memory } = world;
    await drifted(world);
    const { items } = await service.drifts.adopt(ada, { names, reason: 'by hand' });
    expect(items.map(({ type, after }) => [after.key, type, after.version])).toEqual([
      ['changed', 'updated', 2],
      ['missing', 'deleted', 2],
      ['secret', 'updated', 2],
      ['unmanaged', 'created', 1],
    ]);
    expect(await drifts(world)).toEqual([]);
    expect(await plainValue(memory, `${PLAIN}secret`)).toMatchObject({ sealed: 1 });
    const { result } = await service.reads.lookup(ada, { name: named('secret'), reveal: true });
    expect(result.value.json).toBe('hunter3');
    expect(await service.drifts.adopt(ada, { names })).toMatchObject({ changeId: null, items: [] });
  });
});

test('reverts it, without a version', async () => {
  await inWorld(async (world) => {
    const { service, memory } = world;
    await drifted(world);
    expect(await service.drifts.revert(ada, { names })).toMatchObject({ reverted: 4 });
    expect(await drifts(world)).toEqual([]);
    expect(await plainValue(memory, `${PLAIN}changed`)).toEqual({ n: 1 });
    expect(await plainValue(memory, `${PLAIN}missing`)).toEqual({ n: 1 });
    expect(await plainValue(memory, `${PLAIN}unmanaged`)).toBeNull();
    expect((await service.reads.get(ada, { ref: named('changed') })).result.version).toBe(1);
    expect(await service.drifts.revert(ada, { names })).toMatchObject({ reverted: 0 });
  });
});

describe('refuses', () => {
  test('values that the schema does not allow', async () => {
    await inWorld(async ({ service, memory }) => {
      const schema = '{"type":"integer"}';
      await service.configurations.create(ada, { name: named('a'), value: { json: 1 }, schema });
      await outside(memory, 'a', 'text');
      await expect(service.drifts.adopt(ada, { names: [named('a')] })).rejects.toEqual(
        failure('invalid', 'names/0/value'),
      );
    });
  });

  test('too many, none, and names that cannot be', async () => {
    await inWorld(async ({ service }) => {
      const many = Array.from({ length: 41 }, (_, at) => named(`k${at}`));
      await expect(service.drifts.revert(ada, { names: many })).rejects.toEqual(failure('too-large'));
      await expect(service.drifts.adopt(ada, { names: [] })).rejects.toEqual(failure('invalid', 'names'));
      await expect(service.drifts.adopt(ada, { names: [named('a b')] })).rejects.toEqual(
        failure('invalid', 'names/0/key'),
      );
    });
  });
});
