import { describe, expect, test } from 'vitest';
import { ConfigurationEntry } from '../../src/service/configuration-index.ts';
import type { Configuration } from '../../src/service/model.ts';
import { failure } from './failure.ts';
import { ada, callerOf, inWorld, named, plainValue } from './world.ts';

describe('create', () => {
  test('makes the first version, the application, the plain value and one record', async () => {
    await inWorld(async ({ service, memory }) => {
      const name = named('db.pool.max');
      const made = await service.configurations.create(ada, {
        name,
        value: { json: 20 },
        tags: ['db', 'a', 'db'],
        description: 'How many',
        reason: 'first',
      });
      expect(made.items).toHaveLength(1);
      expect(made.items[0]).toMatchObject({
        type: 'created',
        before: null,
        after: {
          ...name,
          version: 1,
          createdBy: 'ada',
          tags: ['a', 'db'],
          value: { type: 'integer', json: 20, isMasked: false },
          configType: 'APPLICATION_CONFIG',
          etag: String(made.revision),
        },
      });
      expect(await plainValue(memory, '/default/production/pay/db.pool.max')).toBe(20);
      await service.projection.catchUp(ada.signal);
      const [change] = service.projection.changesAfter(made.revision - 1);
      expect(change).toMatchObject({
        revision: made.revision,
        record: {
          id: made.changeId,
          operation: 'create',
          reason: 'first',
          items: [
            { kind: 'configuration', type: 'created', before: 0, after: 1 },
            { kind: 'application', type: 'created', name: 'pay' },
          ],
        },
      });
      const read = await service.reads.get(ada, { ref: name });
      expect(read.result).toEqual(made.items[0]!.after);
      expect(
        (await service.reads.get(ada, { ref: { tenant: 'default', id: read.result.id } })).result,
      ).toEqual(read.result);
    });
  });

  test('refuses what is there, what is wrong by field, and an unknown environment', async () => {
    await inWorld(async ({ service }) => {
      const create = (request: object) =>
        service.configurations.create(ada, { name: named('a'), value: { json: 1 }, ...request });
      await create({});
      await expect(create({})).rejects.toEqual(failure('exists', 'key'));
      await expect(create({ name: named('a b', { application: 'x/y' }) })).rejects.toEqual(
        failure('invalid', 'application', 'key'),
      );
      await expect(create({ name: named('b', { environment: 'qa' }) })).rejects.toEqual(
        failure('invalid', 'environment'),
      );
      await expect(create({ name: named('b'), type: 'boolean' })).rejects.toEqual(
        failure('invalid', 'value'),
      );
      await expect(create({ name: named('b'), tags: ['', 'x'.repeat(51)] })).rejects.toEqual(
        failure('invalid', 'tags/0', 'tags/1'),
      );
      await expect(create({ name: named('k'.repeat(256)) })).rejects.toEqual(failure('invalid', 'key'));
      await expect(create({ name: named('b'), value: { json: 'x'.repeat(512 * 1024) } })).rejects.toEqual(
        failure('too-large', 'value'),
      );
      await expect(service.reads.get(ada, { ref: named('b') })).rejects.toEqual(failure('not-found'));
    });
  });

  test('of the longest value fits the store, and is read again after a restart', async () => {
    await inWorld(async ({ service, memory }) => {
      const json = 'x'.repeat(512 * 1024 - 2);
      await service.configurations.create(ada, { name: named('long'), value: { json } });
      await service.configurations.create(ada, { name: named('sealed'), type: 'secret', value: { json } });
      expect((await service.reads.get(ada, { ref: named('long') })).result.value.json).toBe(json);
      await inWorld(
        async (again) => {
          expect((await again.service.reads.get(ada, { ref: named('long') })).result.value.json).toBe(json);
          const found = await again.service.reads.lookup(ada, { name: named('sealed'), reveal: true });
          expect(found.result.value.json).toBe(json);
        },
        { memory },
      );
    });
  });
});

describe('update', () => {
  test('changes what it names and leaves the rest', async () => {
    await inWorld(async ({ service }) => {
      const name = named('a');
      await service.configurations.create(ada, { name, value: { json: { x: 1, y: 2 } }, tags: ['t'] });
      const bob = callerOf('bob');
      const updated = await service.configurations.update(bob, {
        ref: name,
        mergePatch: { y: null, z: 3 },
      });
      expect(updated.items[0]).toMatchObject({
        type: 'updated',
        before: { version: 1, value: { json: { x: 1, y: 2 } } },
        after: {
          version: 2,
          tags: ['t'],
          createdBy: 'ada',
          updatedBy: 'bob',
          value: { json: { x: 1, z: 3 } },
        },
      });
      const text = await service.configurations.update(bob, { ref: name, value: { text: '{"q": 1}' } });
      expect(text.items[0]!.after.value).toEqual({ type: 'json', json: { q: 1 }, isMasked: false });
    });
  });

  test('that changes nothing makes no version', async () => {
    await inWorld(async ({ service }) => {
      const name = named('a');
      const made = await service.configurations.create(ada, { name, value: { json: 1 } });
      const same = await service.configurations.update(ada, { ref: name, value: { json: 1 } });
      expect(same).toMatchObject({ changeId: null, items: [{ type: 'unchanged', after: { version: 1 } }] });
      expect(same.items[0]!.after).toEqual(made.items[0]!.after);
    });
  });

  test('holds to If-Match and to the old value', async () => {
    await inWorld(async ({ service }) => {
      const name = named('a');
      const made = await service.configurations.create(ada, { name, value: { json: 1 } });
      const { etag } = made.items[0]!.after;
      const update = (request: object) => service.configurations.update(ada, { ref: name, ...request });
      await update({ value: { json: 2 }, ifMatch: [etag] });
      await expect(update({ value: { json: 3 }, ifMatch: [etag] })).rejects.toEqual(
        failure('precondition-failed'),
      );
      await expect(update({ value: { json: 3 }, oldValue: 1 })).rejects.toEqual(
        failure('conflict', 'oldValue'),
      );
      expect(
        (await update({ value: { json: 3 }, oldValue: 2, ifMatch: ['*'] })).items[0]!.after.version,
      ).toBe(3);
      await expect(update({ ref: named('none'), value: { json: 1 } })).rejects.toEqual(failure('not-found'));
    });
  });
});

test('a deleted configuration is gone, comes back as it was, and its versions go on', async () => {
  await inWorld(async ({ service, memory }) => {
    const name = named('a');
    await service.configurations.create(ada, { name, value: { json: 'x' }, tags: ['t'] });
    const deleted = await service.configurations.delete(ada, { ref: name });
    expect(deleted.items[0]).toMatchObject({
      type: 'deleted',
      before: { version: 1 },
      after: { version: 2 },
    });
    expect(await plainValue(memory, '/default/production/pay/a')).toBeNull();
    await expect(service.reads.get(ada, { ref: name })).rejects.toEqual(failure('not-found'));
    await expect(service.configurations.delete(ada, { ref: name })).rejects.toEqual(failure('not-found'));
    const back = await service.configurations.undelete(ada, { ref: name });
    expect(back.items[0]).toMatchObject({
      type: 'created',
      before: null,
      after: { version: 3, tags: ['t'], value: { json: 'x' } },
    });
    await service.configurations.delete(ada, { ref: name });
    const again = await service.configurations.create(ada, { name, value: { json: true } });
    expect(again.items[0]!.after).toMatchObject({ version: 5, tags: [], value: { type: 'boolean' } });
    await expect(service.configurations.undelete(ada, { ref: name })).rejects.toEqual(failure('exists'));
  });
});

test('bulk changes all or none, and says which item is wrong', async () => {
  await inWorld(async ({ service }) => {
    const items = (count: number) =>
      Array.from({ length: count }, (_, at) => ({
        action: 'create' as const,
        ref: named(`k${at}`),
        value: { json: at },
      }));
    await expect(service.configurations.bulk(ada, { tenant: 'default', items: items(41) })).rejects.toEqual(
      failure('too-large'),
    );
    const wrong = [...items(3), { action: 'update' as const, ref: named('none'), value: { json: 1 } }];
    await expect(service.configurations.bulk(ada, { tenant: 'default', items: wrong })).rejects.toEqual(
      failure('not-found', 'items/3/key'),
    );
    const dry = await service.configurations.bulk(ada, { tenant: 'default', items: items(2), dryRun: true });
    expect(dry).toMatchObject({ changeId: null, items: [{ type: 'created' }, { type: 'created' }] });
    expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(0);
    const done = await service.configurations.bulk(ada, { tenant: 'default', items: items(40) });
    expect(new Set(done.items.map(({ after }) => after.modRevision))).toEqual(new Set([done.revision]));
    expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(40);
  });
});

describe('idempotency', () => {
  test('the same request under the same key is done once and answered alike', async () => {
    await inWorld(async ({ service }) => {
      const request = { name: named('a'), value: { json: 1 }, idempotencyKey: 'one' };
      const first = await service.configurations.create(ada, request);
      await service.configurations.update(ada, { ref: named('a'), value: { json: 2 } });
      const second = await service.configurations.create(ada, request);
      expect(second).toEqual({ ...first, isRepeated: true });
      await expect(service.configurations.create(ada, { ...request, value: { json: 3 } })).rejects.toEqual(
        failure('idempotency-mismatch'),
      );
      await expect(service.configurations.create(callerOf('bob'), request)).rejects.toEqual(
        failure('exists', 'key'),
      );
    });
  });

  test('a request that changed nothing changes nothing when it is repeated later', async () => {
    await inWorld(async ({ service }) => {
      const name = named('a');
      await service.configurations.create(ada, { name, value: { json: 1 } });
      const request = { ref: name, value: { json: 1 }, idempotencyKey: 'same' };
      await service.configurations.update(ada, request);
      await service.configurations.update(ada, { ref: name, value: { json: 2 } });
      expect(await service.configurations.update(ada, request)).toMatchObject({ isRepeated: true });
      expect((await service.reads.get(ada, { ref: name })).result.value.json).toBe(2);
    });
  });
});

describe('secrets', () => {
  test('are masked everywhere, revealed when asked for, and that is recorded', async () => {
    await inWorld(async ({ service, memory }) => {
      const name = named('db.password');
      const made = await service.configurations.create(ada, {
        name,
        type: 'secret',
        value: { text: 'hunter2' },
      });
      expect(made.items[0]!.after).toMatchObject({
        configType: 'SECRET',
        value: { type: 'secret', json: '********', isMasked: true },
      });
      expect(await plainValue(memory, '/default/production/pay/db.password')).toMatchObject({
        sealed: 1,
        keyId: 'k1',
      });
      expect((await service.reads.lookup(ada, { name })).result.value.isMasked).toBe(true);
      const shown = await service.reads.lookup(ada, { name, reveal: true });
      expect(shown.result.value).toEqual({ type: 'secret', json: 'hunter2', isMasked: false });
      await service.projection.catchUp(ada.signal);
      expect(service.projection.changesAfter(made.revision)).toMatchObject([
        {
          record: {
            operation: 'reveal',
            actor: { name: 'ada' },
            items: [{ type: 'revealed', key: 'db.password' }],
          },
        },
      ]);
      const same = await service.configurations.update(ada, { ref: name, value: { text: 'hunter2' } });
      expect(same.items[0]!.type).toBe('unchanged');
    });
  });

  test('are refused where there is no key', async () => {
    await inWorld(
      async ({ service }) => {
        const request = { name: named('p'), type: 'secret' as const, value: { text: 'x' } };
        await expect(service.configurations.create(ada, request)).rejects.toEqual(
          failure('invalid', 'value'),
        );
      },
      { keyring: null },
    );
  });
});

test('a configuration that expires is gone from then on, and its name is free', async () => {
  await inWorld(async ({ service, clock }) => {
    const name = named('a');
    await service.configurations.create(ada, { name, value: { json: 1 }, ttlSeconds: 60 });
    clock.advance(59_999);
    expect((await service.reads.get(ada, { ref: name })).result.expiresAt).toBe('2026-03-01T00:01:00.000Z');
    clock.advance(1);
    await expect(service.reads.get(ada, { ref: name })).rejects.toEqual(failure('not-found'));
    await expect(service.configurations.update(ada, { ref: name, value: { json: 2 } })).rejects.toEqual(
      failure('not-found'),
    );
    expect((await service.reads.list(ada, { tenant: 'default' })).result.total).toBe(0);
    const again = await service.configurations.create(ada, { name, value: { json: 2 } });
    expect(again.items[0]!.after).toMatchObject({ version: 2, expiresAt: null });
  });
});

test('lists filter, search and page in the order of application, environment and key', async () => {
  await inWorld(async ({ service }) => {
    const make = async (key: string, rest: Parameters<typeof named>[1], more: object = {}) =>
      service.configurations.create(ada, { name: named(key, rest), value: { json: key }, ...more });
    await make('b', {});
    await make('a', {}, { tags: ['red'], description: 'The Timeout of calls' });
    await make('c', { environment: 'test' }, { tags: ['red'] });
    await make('a', { application: 'auth' });
    await make('a', { tenant: 'other' });
    const list = async (request: object) =>
      (await service.reads.list(ada, { tenant: 'default', ...request })).result;
    const names = async (request: object) =>
      (await list(request)).items.map(
        ({ application, environment, key }) => `${application} ${environment} ${key}`,
      );
    expect(await names({})).toEqual([
      'auth production a',
      'pay production a',
      'pay production b',
      'pay test c',
    ]);
    expect(await names({ application: 'pay', environment: 'production' })).toEqual([
      'pay production a',
      'pay production b',
    ]);
    expect(await names({ tag: 'red' })).toEqual(['pay production a', 'pay test c']);
    expect(await names({ search: 'timeout PAY' })).toEqual(['pay production a']);
    expect(await names({ keyPrefix: 'b' })).toEqual(['pay production b']);
    expect(await list({ page: 1, size: 3 })).toMatchObject({
      total: 4,
      page: 1,
      size: 3,
      items: [{ key: 'c' }],
    });
    const all = await names({});
    for (let size = 1; size <= 5; size += 1) {
      const paged: string[] = [];
      for (let page = 0; page * size < all.length; page += 1) paged.push(...(await names({ page, size })));
      expect(paged).toEqual(all);
      expect(await list({ page: 9, size })).toMatchObject({ total: 4, items: [] });
    }
    await expect(list({ size: 1_001 })).rejects.toEqual(failure('invalid', 'size'));
  });
});

test('times without an offset are UTC wherever the server stands', async () => {
  const zone = process.env['TZ'];
  process.env['TZ'] = 'America/New_York';
  try {
    await inWorld(async ({ service }) => {
      const put = (expiresAt: string) =>
        service.configurations.put(ada, { name: named('a'), value: { json: 1 }, expiresAt });
      expect((await put('2027-01-01T00:00:00')).items[0]!.after.expiresAt).toBe('2027-01-01T00:00:00.000Z');
      await expect(put('Jan 1 2027')).rejects.toEqual(failure('invalid', 'expiresAt'));
    });
  } finally {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  }
});

test('a secret is made plain with another value only', async () => {
  await inWorld(async ({ service }) => {
    const json = { pin: '1234' };
    await service.configurations.create(ada, { name: named('a'), type: 'secret', value: { json } });
    const update = (more: object) => service.configurations.update(ada, { ref: named('a'), ...more });
    await expect(update({ type: 'json' })).rejects.toEqual(failure('invalid', 'value'));
    await expect(update({ type: 'json', mergePatch: { a: 1 } })).rejects.toEqual(failure('invalid', 'value'));
    await update({ mergePatch: { a: 1 } });
    await update({ type: 'json', value: { json: 1 } });
    expect((await service.reads.get(ada, { ref: named('a') })).result.value).toMatchObject({ json: 1 });
  });
});

test('to look for references to what is deleted, only values that may refer are read', async () => {
  const { prototype } = ConfigurationEntry;
  const original = Object.getOwnPropertyDescriptor(prototype, 'read')!;
  const read = original.value as (this: ConfigurationEntry) => Configuration;
  let reads = 0;
  prototype.read = function (this: ConfigurationEntry) {
    reads += 1;
    return read.call(this);
  };
  try {
    await inWorld(async ({ service }) => {
      const scope = { tenant: 'default', environment: 'production', application: 'pay' };
      const values = new Map(Array.from({ length: 500 }, (_, at) => [`k${at}`, `value ${at}`] as const));
      await service.importing.import(ada, { scope, values });
      await service.configurations.put(ada, { name: named('r'), value: { json: '${k1} of ${k2}' } });
      const items = ['k0', 'k1', 'k2'].map((key) => ({ action: 'delete' as const, ref: named(key) }));
      reads = 0;
      const { findings } = await service.configurations.bulk(ada, { tenant: 'default', items });
      expect(findings.map(({ field }) => field)).toEqual(['items/1/key', 'items/2/key']);
      expect(reads).toBeLessThan(50);
    });
  } finally {
    Object.defineProperty(prototype, 'read', original);
  }
});

test('references do not make an answer larger than a server can bear', async () => {
  await inWorld(async ({ service }) => {
    const scope = { tenant: 'default', environment: 'production', application: 'pay' };
    const values = new Map<string, string>([['long', 'x'.repeat(500_000)]]);
    for (let at = 0; at < 70; at += 1) values.set(`k${at}`, '${long}');
    await service.importing.import(ada, { scope, values });
    const keys = [...values.keys()];
    const few = await service.reads.getMany(ada, { scope, keys: keys.slice(0, 60), resolve: true });
    expect(few.result.items.at(-1)!.value.json).toHaveLength(500_000);
    await expect(service.reads.effective(ada, { scope, resolve: true })).rejects.toEqual(
      failure('too-large'),
    );
    await expect(service.reads.getMany(ada, { scope, keys, resolve: true })).rejects.toEqual(
      failure('too-large'),
    );
  });
});
