import { expect, test } from 'vitest';
import { failure } from './failure.ts';
import { ada, callerOf, inWorld, named } from './world.ts';

const PAY = { tenant: 'default', name: 'pay' };

test('an application is made, changed, and made by its first configuration', async () => {
  await inWorld(async ({ service }) => {
    const made = await service.applications.create(ada, {
      ...PAY,
      description: 'Payments',
      idempotencyKey: 'k',
    });
    expect(made.application).toMatchObject({
      ...PAY,
      version: 1,
      createdBy: 'ada',
      etag: String(made.revision),
    });
    expect(
      await service.applications.create(ada, { ...PAY, description: 'Payments', idempotencyKey: 'k' }),
    ).toEqual({
      ...made,
      isRepeated: true,
    });
    await expect(service.applications.create(ada, PAY)).rejects.toEqual(failure('exists', 'application'));
    const bob = callerOf('bob');
    const changed = await service.applications.update(bob, {
      ...PAY,
      defaults: { 'db.pool.max': 10 },
      ifMatch: [made.application.etag],
    });
    expect(changed.application).toMatchObject({ version: 2, description: 'Payments', updatedBy: 'bob' });
    await expect(
      service.applications.update(bob, { ...PAY, description: 'x', ifMatch: [made.application.etag] }),
    ).rejects.toEqual(failure('precondition-failed'));
    await service.configurations.create(ada, {
      name: named('a', { application: 'auth' }),
      value: { json: 1 },
    });
    const list = await service.applications.list(ada, { tenant: 'default' });
    expect(list.result.map(({ name }) => name)).toEqual(['auth', 'pay']);
    await service.projection.catchUp(ada.signal);
    const [change] = service.projection.changesAfter(changed.revision - 1);
    expect(change!.record.items).toEqual([
      {
        kind: 'application',
        type: 'updated',
        ...PAY,
        before: 1,
        after: 2,
        fields: [{ name: 'defaults', before: {}, after: { 'db.pool.max': 10 } }],
      },
    ]);
  });
});

test('wrong names, keys, values and rules are refused by field', async () => {
  await inWorld(async ({ service }) => {
    await service.applications.create(ada, PAY);
    const update = (input: object) => service.applications.update(ada, { ...PAY, ...input });
    await expect(update({ defaults: { 'a b': 1 } })).rejects.toEqual(failure('invalid', 'defaults/a b/key'));
    await expect(update({ defaults: { a: 2 ** 60 } })).rejects.toEqual(
      failure('invalid', 'defaults/a/value'),
    );
    const rule = { name: 'r', expression: 'true', message: 'm' };
    await expect(update({ rules: [rule, rule] })).rejects.toEqual(failure('invalid', 'rules/1/name'));
    await expect(update({ rules: Array.from({ length: 51 }, () => rule) })).rejects.toEqual(
      failure('invalid', 'rules'),
    );
    await expect(update({ name: 'none' })).rejects.toEqual(failure('not-found', 'application'));
    await expect(service.applications.get(ada, { tenant: 'default', name: 'a/b' })).rejects.toEqual(
      failure('invalid', 'application'),
    );
  });
});

test('one is deleted only without configurations, and a configuration put meanwhile is not left without it', async () => {
  await inWorld(async ({ service }) => {
    await service.configurations.create(ada, { name: named('a'), value: { json: 1 } });
    await expect(service.applications.delete(ada, PAY)).rejects.toEqual(failure('conflict'));
    await service.configurations.delete(ada, { ref: named('a') });
    const [, put] = await Promise.all([
      service.applications.delete(ada, PAY).catch(() => null),
      service.configurations.create(ada, { name: named('b'), value: { json: 1 } }),
    ]);
    expect(put.items[0]!.type).toBe('created');
    expect((await service.applications.get(ada, PAY)).result.name).toBe('pay');
    await service.configurations.delete(ada, { ref: named('b') });
    await service.applications.delete(ada, PAY);
    await expect(service.applications.delete(ada, PAY)).rejects.toEqual(failure('not-found', 'application'));
    await service.configurations.undelete(ada, { ref: named('b') });
    expect((await service.applications.get(ada, PAY)).result.version).toBe(1);
  });
});
