import { expect, test } from 'vitest';
import type { ConfigurationEvent } from '../../../src/service/events/event.ts';
import { EVENT_LIMITS_DEFAULT } from '../../../src/service/events/event-hub.ts';
import type { Json } from '../../../src/service/model.ts';
import type { Service } from '../../../src/service/service.ts';
import { failure } from '../failure.ts';
import { ada, inWorld, named, type World } from '../world.ts';
import { Reader } from './reader.ts';

const TENANT = 'default';
const SCOPE = { tenant: TENANT, environment: 'staging', application: 'pay' };

async function put({ service }: World, environment: string, key: string, json: Json): Promise<number> {
  const name = named(key, { environment });
  return (await service.configurations.put(ada, { name, value: { json } })).revision;
}

/** The first so many events behind a cursor. */
async function take(
  service: Service,
  count: number,
  request: Omit<Parameters<Service['events']['subscribe']>[1], 'filter'> & {
    readonly keys?: readonly string[];
  },
): Promise<readonly ConfigurationEvent[]> {
  const { keys, cursor } = request;
  const stream = await service.events.subscribe(ada, { filter: { ...SCOPE, keys }, cursor });
  const taken: ConfigurationEvent[] = [];
  for await (const { events } of stream) {
    taken.push(...events);
    if (taken.length >= count) break;
  }
  return taken;
}

const brief = (events: readonly ConfigurationEvent[]): readonly unknown[] =>
  events.map(({ name, type, value, version }) => [name.key, type, value?.json ?? null, version]);

test('what holds is told as it changes: own values, inherited ones that show through, and no hidden ones', async () => {
  await inWorld(async (world) => {
    const { service, clock } = world;
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: 'test' });
    const after = await put(world, 'production', 'a', 0);
    await put(world, 'test', 'a', 1);
    clock.advance(1_000);
    await put(world, 'staging', 'a', 2);
    // Hidden by the nearer one.
    await put(world, 'test', 'a', 3);
    clock.advance(1_000);
    await service.configurations.delete(ada, { ref: named('a', { environment: 'staging' }) });
    await service.configurations.delete(ada, { ref: named('a', { environment: 'test' }) });
    const told = await take(service, 4, { cursor: { after, taken: 0 } });
    expect(brief(told)).toEqual([
      ['a', 'created', 1, 1],
      ['a', 'updated', 2, 1],
      ['a', 'updated', 3, 2],
      ['a', 'deleted', null, 2],
    ]);
    // The value that shows through again is older than the change that shows it.
    expect(told.map(({ updatedAt, timestamp }) => Date.parse(timestamp) - Date.parse(updatedAt))).toEqual([
      0, 0, 1_000, 0,
    ]);
  });
});

test('another parent, and other defaults, are told key by key, as they were then', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await put(world, 'test', 'a', 1);
    await put(world, 'test', 'b', 1);
    const after = await put(world, 'staging', 'b', 2);
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: 'test' });
    await service.applications.update(ada, { tenant: TENANT, name: 'pay', defaults: { a: 9, c: 9 } });
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: null });
    expect(brief(await take(service, 3, { cursor: { after, taken: 0 } }))).toEqual([
      ['a', 'created', 1, 1],
      ['c', 'created', 9, 0],
      ['a', 'updated', 9, 0],
    ]);
  });
});

test('keys that are not wanted, other applications and reads of secrets are passed over', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    const after = await put(world, 'staging', 'secret', 'x');
    const name = named('secret', { environment: 'staging' });
    await service.configurations.put(ada, { name, type: 'secret', value: { json: 'hush' } });
    await service.reads.lookup(ada, { name, reveal: true });
    await put(world, 'staging', 'other', 1);
    const billing = { ...named('wanted', { environment: 'staging' }), application: 'billing' };
    await service.configurations.put(ada, { name: billing, value: { json: 1 } });
    await put(world, 'staging', 'wanted', 2);
    const told = await take(service, 2, { cursor: { after, taken: 0 }, keys: ['wanted', 'secret'] });
    expect(brief(told)).toEqual([
      ['secret', 'updated', '********', 2],
      ['wanted', 'created', 2, 1],
    ]);
    expect(told[0]!.value).toEqual({ type: 'secret', json: '********', isMasked: true });
  });
});

test('one who begins must name what is there; one who goes on is told of what is there no more', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await service.environments.create(ada, { tenant: TENANT, id: 'qa' });
    await put(world, 'qa', 'a', 1);
    const after = await put(world, 'staging', 'a', 1);
    const open = (scope: Partial<typeof SCOPE>, keys?: readonly string[]) =>
      service.events.subscribe(ada, { filter: { ...SCOPE, ...scope, keys } });
    await expect(open({ environment: 'gone' })).rejects.toEqual(failure('not-found', 'environment'));
    await expect(open({ application: 'none' })).rejects.toEqual(failure('not-found', 'application'));
    await expect(open({}, ['a b'])).rejects.toEqual(failure('invalid', 'keys/0/key'));
    await service.configurations.delete(ada, { ref: named('a', { environment: 'qa' }) });
    await service.environments.delete(ada, { tenant: TENANT, id: 'qa' });
    const stream = await service.events.subscribe(ada, {
      filter: { ...SCOPE, environment: 'qa' },
      cursor: { after, taken: 0 },
    });
    for await (const { events } of stream) {
      expect(brief(events)).toEqual([['a', 'deleted', null, 1]]);
      break;
    }
  });
});

test('the events of one revision can be gone on from between any two, at any server', async () => {
  await inWorld(async (first) => {
    const { service } = first;
    for (const key of ['b', 'c', 'a']) await put(first, 'test', key, key);
    const reader = await Reader.open(service, { tenant: TENANT });
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: 'test' });
    const last = await put(first, 'staging', 'a', 'own');
    await reader.reach(last);
    const all = reader.events;
    await reader.close();
    const texts = all.map(({ payload }) => payload.cursor);
    const shift = all[0]!.revision;
    expect(texts).toEqual([`${shift}-1`, `${shift}-2`, String(shift), String(last)]);
    const expectTheSame = async (other: Service): Promise<void> => {
      for (const [at, { cursor }] of all.slice(0, -1).entries()) {
        const rest = await take(other, all.length - at - 1, { cursor });
        expect(rest.map(({ payload }) => payload)).toEqual(all.slice(at + 1).map(({ payload }) => payload));
      }
    };
    await expectTheSame(service);
    first.memory.compact(last);
    await inWorld(({ service: second }) => expectTheSame(second), {
      memory: first.memory,
      eventLimits: { ...EVENT_LIMITS_DEFAULT, warmChanges: 0 },
    });
  });
});

test('keys that are named must be readable', async () => {
  await inWorld(
    async (world) => {
      await put(world, 'staging', 'a', 1);
      const open = (keys?: readonly string[]) =>
        world.service.events.subscribe(ada, { filter: { ...SCOPE, keys } });
      await expect(open(['a', 'b'])).rejects.toMatchObject({ code: 'forbidden' });
      (await open(['a'])).close();
      (await open()).close();
      expect(world.service.events.subscribers).toBe(0);
    },
    {
      wrap: (kv) =>
        new Proxy(kv, {
          get: (target, name) => {
            if (name === 'permits')
              return async ({ key, access }: { readonly key: Buffer; readonly access: string }) => ({
                user: 'ada',
                permitted: access === 'write' || key.toString() === '/default/staging/pay/a',
              });
            const member: unknown = Reflect.get(target, name, target);
            return typeof member === 'function' ? member.bind(target) : member;
          },
        }),
    },
  );
});

test('a stream says when it has begun: with a batch, with nothing to tell, or with its end', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    const after = await put(world, 'staging', 'a', 1);
    await put(world, 'staging', 'a', 2);
    await take(service, 1, { cursor: { after, taken: 0 } });
    for (const cursor of [{ after, taken: 0 }, undefined]) {
      const stream = await service.events.subscribe(ada, { filter: SCOPE, cursor });
      const next = stream[Symbol.asyncIterator]().next();
      await stream.settled;
      stream.close();
      expect((await next).done).toBe(cursor === undefined);
    }
  });
});
