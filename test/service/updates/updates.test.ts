import { expect, test } from 'vitest';
import type { Kv } from '../../../src/kv/kv.ts';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import type { Caller } from '../../../src/service/caller.ts';
import type { Json } from '../../../src/service/model.ts';
import type { Update } from '../../../src/service/updates/updates.ts';
import { failure } from '../failure.ts';
import { withTxn } from '../kv-wrappers.ts';
import { ada, inWorld, named, type World } from '../world.ts';

const TENANT = 'default';
const SCOPE = { tenant: TENANT, environment: 'staging', application: 'pay' };

async function put({ service }: World, environment: string, key: string, json: Json): Promise<number> {
  const name = named(key, { environment });
  return (await service.configurations.put(ada, { name, value: { json } })).revision;
}

/** A caller that can be told to go. */
function leaving(): { readonly caller: Caller; readonly leave: () => void } {
  const control = new AbortController();
  return { caller: { ...ada, signal: control.signal }, leave: () => control.abort() };
}

/** The first so many updates after a revision. */
async function take(
  { service }: World,
  count: number,
  { after = null, keys = [] }: { readonly after?: number | null; readonly keys?: readonly string[] } = {},
): Promise<readonly Update[]> {
  const { caller, leave } = leaving();
  const { updates } = await service.updates.open(caller, { scope: SCOPE, keys, after });
  const taken: Update[] = [];
  for await (const update of updates) {
    taken.push(update);
    if (taken.length === count) break;
  }
  leave();
  return taken;
}

const brief = (updates: readonly Update[]): readonly unknown[] =>
  updates.map(({ key, type, value, version }) => [key, type, value?.json ?? null, version]);

test('what holds is told as it changes: own values, inherited ones that show through, and defaults', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: 'test' });
    const after = await put(world, 'production', 'a', 0);
    await put(world, 'test', 'a', 1);
    await put(world, 'staging', 'a', 2);
    // Hidden by the nearer one.
    await put(world, 'test', 'a', 3);
    await service.configurations.delete(ada, { ref: named('a', { environment: 'staging' }) });
    await service.configurations.delete(ada, { ref: named('a', { environment: 'test' }) });
    expect(brief(await take(world, 4, { after }))).toEqual([
      ['a', 'created', 1, 1],
      ['a', 'updated', 2, 1],
      ['a', 'updated', 3, 2],
      ['a', 'deleted', null, 3],
    ]);
  });
});

test('another parent, and other defaults, are told key by key', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await put(world, 'test', 'a', 1);
    await put(world, 'test', 'b', 1);
    const after = await put(world, 'staging', 'b', 2);
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: 'test' });
    await service.applications.update(ada, { tenant: TENANT, name: 'pay', defaults: { a: 9, c: 9 } });
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: null });
    // The state has gone on since: what holds now is told.
    expect(brief(await take(world, 3, { after }))).toEqual([
      ['a', 'created', 9, 0],
      ['c', 'created', 9, 0],
      ['a', 'updated', 9, 0],
    ]);
  });
});

test('another parent is told as it comes', async () => {
  await inWorld(async (world) => {
    const { service } = world;
    await put(world, 'test', 'a', 1);
    await put(world, 'staging', 'b', 2);
    const { caller, leave } = leaving();
    const { updates } = await service.updates.open(caller, { scope: SCOPE, keys: [], after: null });
    const next = async (): Promise<readonly unknown[]> => brief([(await updates.next()).value as Update]);
    let told = next();
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: 'test' });
    expect(await told).toEqual([['a', 'created', 1, 1]]);
    told = next();
    await service.environments.update(ada, { tenant: TENANT, id: 'staging', parent: null });
    expect(await told).toEqual([['a', 'deleted', null, 0]]);
    leave();
    expect(await updates.next()).toMatchObject({ done: true });
  });
});

test('one who comes back is told every version since, each once, wherever they are still known', async () => {
  await inWorld(async (first) => {
    const revisions: number[] = [];
    for (let at = 0; at < 6; at += 1) revisions.push(await put(first, 'staging', 'a', at));
    const all = await take(first, 5, { after: revisions[0]! });
    expect(all.map(({ revision }) => revision)).toEqual(revisions.slice(1));
    expect(all.map(({ value, version }) => [value?.json, version])).toEqual(
      [1, 2, 3, 4, 5].map((n) => [n, n + 1]),
    );

    // Another server, with nothing of it in memory: from the store's history, then from the records alone.
    for (const compacted of [0, revisions[3]!]) {
      if (compacted > 0) first.memory.compact(compacted);
      await inWorld(
        async (second) => {
          const again = await take(second, 5, { after: revisions[0]! });
          expect(again).toEqual(all);
          expect(brief(await take(second, 1, { after: revisions[4]! }))).toEqual([['a', 'updated', 5, 6]]);
        },
        { memory: first.memory },
      );
    }
  });
});

test('a stream goes on where the projection was left behind by a compaction, and misses nothing', async () => {
  const memory = new MemoryKv();
  let letGo = (): void => undefined;
  let gate = Promise.resolve();
  const gated = (kv: Kv): Kv => ({
    ...withTxn(kv, (perform, request, call) => perform(request, call)),
    async *watch(request, call) {
      for await (const batch of kv.watch(request, call)) {
        await gate;
        yield batch;
      }
    },
  });
  await inWorld(
    async (other) => {
      await inWorld(
        async (world) => {
          await put(other, 'staging', 'a', 0);
          const { caller, leave } = leaving();
          const { updates } = await world.service.updates.open(caller, {
            scope: SCOPE,
            keys: [],
            after: null,
          });
          const jumps: unknown[] = [];
          world.service.projection.subscribe({ changed: () => undefined, jumped: (gap) => jumps.push(gap) });
          const first = updates.next();
          gate = new Promise((resolve) => {
            letGo = resolve;
          });
          let last = 0;
          for (let at = 1; at <= 8; at += 1) last = await put(other, 'staging', 'a', at);
          memory.compact(last);
          letGo();
          const told = [(await first).value as Update];
          for (let at = 2; at <= 8; at += 1) told.push((await updates.next()).value as Update);
          expect(jumps).toHaveLength(1);
          expect(told.map(({ value, version }) => [value?.json, version])).toEqual(
            [1, 2, 3, 4, 5, 6, 7, 8].map((n) => [n, n + 1]),
          );
          leave();
        },
        { memory, wrap: gated },
      );
    },
    { memory },
  );
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
    expect(brief(await take(world, 2, { after, keys: ['wanted', 'secret'] }))).toEqual([
      ['secret', 'updated', '********', 2],
      ['wanted', 'created', 2, 1],
    ]);
  });
});

test('who is slow misses nothing: it is told from memory what it has not taken', async () => {
  await inWorld(async (world) => {
    await put(world, 'staging', 'a', -1);
    const { caller, leave } = leaving();
    const { updates } = await world.service.updates.open(caller, { scope: SCOPE, keys: [], after: null });
    const first = updates.next();
    for (let at = 0; at < 50; at += 1) await put(world, 'staging', `k${at % 5}`, at);
    const taken = [(await first).value as Update];
    for (let at = 1; at < 50; at += 1) taken.push((await updates.next()).value as Update);
    leave();
    expect(taken.map(({ value }) => value?.json)).toEqual(Array.from({ length: 50 }, (_, at) => at));
  });
});

test('an unknown environment or application, or a wrong key, is refused', async () => {
  await inWorld(async (world) => {
    await put(world, 'staging', 'a', 1);
    const open = (scope: Partial<typeof SCOPE>, keys: readonly string[] = []) =>
      world.service.updates.open(ada, { scope: { ...SCOPE, ...scope }, keys, after: null });
    await expect(open({ environment: 'qa' })).rejects.toEqual(failure('not-found', 'environment'));
    await expect(open({ application: 'none' })).rejects.toEqual(failure('not-found', 'application'));
    await expect(open({}, ['a b'])).rejects.toEqual(failure('invalid', 'key'));
  });
});
