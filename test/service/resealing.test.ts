import { describe, expect, test } from 'vitest';
import { type KvCall, type KvRow } from '../../src/kv/kv.ts';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { verifyAudit } from '../../src/service/audit/verify.ts';
import { RESEALING_KEY } from '../../src/service/keyspace.ts';
import { Keyring } from '../../src/service/secrets/keyring.ts';
import type { Service } from '../../src/service/service.ts';
import { failure } from './failure.ts';
import { interleaving } from './kv-wrappers.ts';
import { ada, inWorld, named, plainValue, TestClock } from './world.ts';

const { signal } = new AbortController();
const call: KvCall = { principal: { type: 'service' }, signal };
const line = (id: string): string => `${id}:${Buffer.alloc(32, id).toString('base64')}`;
const ring = (...ids: readonly string[]): Keyring => Keyring.parse(ids.map(line).join('\n'));
const LARGE = 's'.repeat(200_000);

/** A secret with versions, one that was deleted, one whose value stands in its version only, and a plain value. */
async function secrets({ configurations, sealer }: Service): Promise<void> {
  for (const json of ['one', 'two', 'three']) {
    await configurations.put(ada, { name: named('token'), type: 'secret', value: { json } });
  }
  await configurations.put(ada, { name: named('gone'), type: 'secret', value: { json: 'was' } });
  await configurations.delete(ada, { ref: named('gone') });
  await configurations.put(ada, { name: named('large'), type: 'secret', value: { json: LARGE } });
  await configurations.put(ada, { name: named('turned'), type: 'secret', value: { json: 'secret' } });
  await configurations.put(ada, { name: named('turned'), type: 'string', value: { json: 'plain' } });
  await configurations.put(ada, { name: named('open'), value: { json: 1 } });
  await sealer.seal(signal);
}

async function rowsBelow(memory: MemoryKv, prefix: string): Promise<readonly KvRow[]> {
  const key = Buffer.from(prefix);
  const range = { key, rangeEnd: prefixEnd(key), consistency: { type: 'linearizable' } } as const;
  return (await memory.range(range, call)).rows;
}

async function sealers(memory: MemoryKv): Promise<readonly string[]> {
  const rows = await rowsBelow(memory, '/');
  return rows.flatMap(({ value }) => [...value.toString().matchAll(/"keyId":"(\w+)"/g)].map(([, id]) => id!));
}

async function revealed({ reads }: Service, key: string): Promise<unknown> {
  return (await reads.lookup(ada, { name: named(key), reveal: true })).result.value.json;
}

describe('after another key was put first', () => {
  test('secrets are sealed anew, and the old key may go', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    await inWorld(async ({ service }) => secrets(service), { memory, clock, keyring: ring('a') });
    await inWorld(
      async ({ service }) => {
        expect(service.sweepers.resealing).toEqual({
          keyId: 'b',
          waiting: 3,
          resealed: 0,
          unopened: 0,
          isDone: false,
        });
        // 3 rows with their versions, and 5 older versions: two of token, one of gone, one of turned.
        expect(await service.sweepers.reseal()).toBe(7);
        await service.projection.catchUp(signal);
        expect(new Set((await sealers(memory)).filter((id) => id !== ''))).toEqual(new Set(['b']));
        // It has heard of it once its own watch tells.
        while (service.sweepers.resealing.waiting > 0) await new Promise(setImmediate);
        expect(service.sweepers.resealing).toMatchObject({ waiting: 0, resealed: 7, isDone: true });
        expect(await service.sweepers.reseal()).toBe(0);
      },
      { memory, clock, keyring: ring('b', 'a') },
    );
    await inWorld(
      async ({ service }) => {
        expect(await revealed(service, 'token')).toBe('three');
        expect(await revealed(service, 'large')).toBe(LARGE);
        await service.history.rollback(ada, { ref: named('token'), version: 1 });
        expect(await revealed(service, 'token')).toBe('one');
        await service.configurations.undelete(ada, { ref: named('gone') });
        expect(await revealed(service, 'gone')).toBe('was');
        await service.history.rollback(ada, { ref: named('turned'), version: 1 });
        expect(await revealed(service, 'turned')).toBe('secret');
        expect(service.sweepers.resealing).toMatchObject({ waiting: 0, isDone: true });
      },
      { memory, clock, keyring: ring('b') },
    );
  });

  test('nobody sees a change in that', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    const seen = async (service: Service) => ({
      versions: (await service.history.versions(ada, { ref: named('token') })).result,
      audit: (await service.audit.query(ada, { tenant: 'default' })).items,
      drift: (await service.drifts.list(ada, { tenant: 'default' })).result,
      effective: (await service.reads.effective(ada, { scope: named('') })).result.items.map(
        ({ key, version, updatedAt, value }) => ({ key, version, updatedAt, value }),
      ),
    });
    let before: unknown;
    await inWorld(
      async ({ service }) => {
        await secrets(service);
        before = await seen(service);
      },
      { memory, clock, keyring: ring('a') },
    );
    clock.advance(1_000);
    await inWorld(
      async ({ service }) => {
        const heard: unknown[] = [];
        service.projection.subscribe({
          changed: (change) => heard.push(change),
          jumped: (gap) => heard.push(gap),
        });
        const revision = service.projection.revision;
        const asOf = { ref: named('token'), at: { revision } };
        const then = await service.history.asOf(ada, asOf);
        expect(await service.sweepers.reseal()).toBe(7);
        while (service.sweepers.resealing.waiting > 0) await new Promise(setImmediate);
        expect(heard).toEqual([]);
        expect(await seen(service)).toEqual(before);
        expect((await service.history.asOf(ada, asOf)).result).toEqual(then.result);
        expect(await service.sealer.seal(signal)).toBe(0);
        expect(await verifyAudit(memory, { signal })).toMatchObject({ findingCount: 0, unsealed: 0 });
      },
      { memory, clock, keyring: ring('b', 'a') },
    );
  });

  test('a plain value that has drifted stays as it is', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    await inWorld(async ({ service }) => secrets(service), { memory, clock, keyring: ring('a') });
    const key = '/default/production/pay/token';
    const put = { type: 'put', key: Buffer.from(key), value: Buffer.from('"loose"') } as const;
    await memory.txn({ compare: [], success: [put], failure: [] }, call);
    await inWorld(
      async ({ service }) => {
        await service.sweepers.reseal();
        expect(await plainValue(memory, key)).toBe('loose');
        const { items } = (await service.drifts.list(ada, { tenant: 'default' })).result;
        expect(items.map(({ key: drifted, type }) => [drifted, type])).toEqual([['token', 'changed']]);
      },
      { memory, clock, keyring: ring('b', 'a') },
    );
  });

  test('a change that comes in between wins, and what is left is sealed by the next sweep', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    await inWorld(
      async (other) => {
        await secrets(other.service);
        const change = async (): Promise<void> => {
          const value = { json: 'four' };
          await other.service.configurations.put(ada, { name: named('token'), type: 'secret', value });
        };
        // The first two transactions are the lock and the mark.
        const intruders = [async () => undefined, async () => undefined, change];
        await inWorld(
          async ({ service }) => {
            await service.sweepers.reseal();
            expect(service.sweepers.resealing.isDone).toBe(false);
            await service.projection.catchUp(signal);
            await service.sweepers.reseal();
            while (service.sweepers.resealing.waiting > 0) await new Promise(setImmediate);
            expect(service.sweepers.resealing.isDone).toBe(true);
            expect(await revealed(service, 'token')).toBe('four');
            expect(await sealers(memory)).not.toContain('a');
          },
          { memory, clock, keyring: ring('b', 'a'), wrap: (kv) => interleaving(kv, intruders) },
        );
      },
      { memory, clock, keyring: ring('a', 'b') },
    );
  });

  test('a server that still seals with the old one does not seal anew what the new one did', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    await inWorld(
      async (old) => {
        await secrets(old.service);
        expect(await old.service.sweepers.reseal()).toBe(0);
        clock.advance(60_000);
        await inWorld(
          async ({ service }) => {
            expect(await service.sweepers.reseal()).toBe(7);
            clock.advance(3_600_000);
            await old.service.projection.catchUp(signal);
            expect(await old.service.sweepers.reseal()).toBe(0);
            // What it seals meanwhile is sealed anew.
            const value = { json: 'late' };
            const name = named('late');
            const { revision } = await old.service.configurations.put(ada, { name, type: 'secret', value });
            await service.projection.reach(revision, signal);
            expect(service.sweepers.resealing).toMatchObject({ waiting: 1, isDone: false });
            expect(await service.sweepers.reseal()).toBe(1);
            expect(await sealers(memory)).not.toContain('a');
          },
          { memory, clock, keyring: ring('b', 'a') },
        );
      },
      { memory, clock, keyring: ring('a', 'b') },
    );
  });

  test('what does not open is told of, and holds up nothing else', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    await inWorld(async ({ service }) => secrets(service), { memory, clock, keyring: ring('lost') });
    await inWorld(
      async ({ service }) => {
        await service.configurations.put(ada, { name: named('mine'), type: 'secret', value: { json: 'x' } });
      },
      { memory, clock, keyring: ring('a') },
    );
    await inWorld(
      async ({ service }) => {
        expect(await service.sweepers.reseal()).toBe(1);
        while (service.sweepers.resealing.waiting > 3) await new Promise(setImmediate);
        expect(service.sweepers.resealing).toEqual({
          keyId: 'b',
          waiting: 3,
          resealed: 1,
          unopened: 4,
          isDone: true,
        });
        await expect(revealed(service, 'token')).rejects.toEqual(failure('unavailable'));
      },
      { memory, clock, keyring: ring('b', 'a') },
    );
  });

  test('nothing is looked for with one key, or none; a mark that cannot be read is made anew', async () => {
    const memory = new MemoryKv();
    for (const keyring of [ring('a'), null]) {
      await inWorld(
        async ({ service }) => {
          expect(await service.sweepers.reseal()).toBe(0);
          expect(service.sweepers.resealing.isDone).toBe(true);
        },
        { memory, keyring },
      );
    }
    expect(await rowsBelow(memory, RESEALING_KEY.toString())).toEqual([]);
    const put = { type: 'put', key: RESEALING_KEY, value: Buffer.from('?') } as const;
    await memory.txn({ compare: [], success: [put], failure: [] }, call);
    await inWorld(
      async ({ service }) => {
        await service.sweepers.reseal();
        expect(service.sweepers.resealing.isDone).toBe(true);
      },
      { memory, keyring: ring('b', 'a') },
    );
  });
});
