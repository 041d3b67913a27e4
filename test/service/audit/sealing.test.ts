import { describe, expect, test } from 'vitest';
import { type Kv, type KvCall, KvError } from '../../../src/kv/kv.ts';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { readSealHead } from '../../../src/service/audit/change-log.ts';
import { BLOCK_ENTRIES } from '../../../src/service/audit/seal-rows.ts';
import { Sealer } from '../../../src/service/audit/sealer.ts';
import { verifyAudit } from '../../../src/service/audit/verify.ts';
import { changeKey, HEAD_KEY, SEAL_HEAD_KEY, sealKey } from '../../../src/service/keyspace.ts';
import { openService, type Service } from '../../../src/service/service.ts';
import { Gate } from '../events/gated-kv.ts';
import { ada, inWorld, KEYRING, named, TestClock, type World } from '../world.ts';

const { signal } = new AbortController();
const call: KvCall = { principal: { type: 'service' }, signal };

let json = 0;

/** A value that was not there before. */
async function put({ service }: { readonly service: Service }, key: string): Promise<string> {
  json += 1;
  const answer = await service.configurations.put(ada, { name: named(key), value: { json } });
  return answer.changeId!;
}

/** @returns the ids of the changes, in their order */
async function putMany(world: World, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let at = 0; at < count; at += 1) ids.push(await put(world, `key-${at % 7}`));
  await world.service.projection.catchUp(signal);
  return ids;
}

const verify = (kv: Kv) => verifyAudit(kv, { signal });

async function rowOf(memory: MemoryKv, key: Buffer) {
  const { rows } = await memory.range({ key, consistency: { type: 'linearizable' } }, call);
  return rows[0];
}

async function overwrite(memory: MemoryKv, key: Buffer, value: Buffer): Promise<number> {
  const { revision } = await memory.txn(
    { compare: [], success: [{ type: 'put', key, value }], failure: [] },
    call,
  );
  return revision;
}

async function remove(memory: MemoryKv, key: Buffer): Promise<void> {
  await memory.txn({ compare: [], success: [{ type: 'delete', key }], failure: [] }, call);
}

describe('sealing', () => {
  test('writes nothing before there is a change', async () => {
    await inWorld(async ({ service, memory }) => {
      expect(await service.sealer.seal(signal)).toBe(0);
      expect(await rowOf(memory, SEAL_HEAD_KEY)).toBeUndefined();
      expect(await verify(memory)).toMatchObject({ sealed: 0, unsealed: 0, findings: [] });
    });
  });

  test('chains all changes in their order, block by block, and goes on where it was', async () => {
    await inWorld(async (world) => {
      const { service, memory } = world;
      await putMany(world, BLOCK_ENTRIES + 5);
      expect(await verify(memory)).toMatchObject({ sealed: 0, unsealed: BLOCK_ENTRIES + 5, findings: [] });
      expect(await service.sealer.seal(signal)).toBe(BLOCK_ENTRIES + 5);
      expect(await service.sealer.seal(signal)).toBe(0);
      const first = await verify(memory);
      expect(first).toMatchObject({ sealed: BLOCK_ENTRIES + 5, unsealed: 0, findings: [] });

      await putMany(world, 3 * BLOCK_ENTRIES);
      expect(await service.sealer.seal(signal)).toBe(3 * BLOCK_ENTRIES);
      const { head } = await readSealHead(memory, signal);
      expect(head).toMatchObject({ count: 4 * BLOCK_ENTRIES + 5, open: { position: 4 * BLOCK_ENTRIES } });
      expect(head.open.entries).toHaveLength(5);
      expect(await verifyAudit(memory, { signal, anchor: first.anchor })).toMatchObject({ findings: [] });
    });
  });

  test('is done by a server that runs, again and again', async () => {
    const memory = new MemoryKv();
    const service = await openService({ kv: memory, logger: silentLogger, keyring: KEYRING, signal });
    for (let count = 1; count <= 2; count += 1) {
      await put({ service }, 'a');
      while ((await readSealHead(memory, signal)).head.count < count) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    await service.close();
    expect(await verify(memory)).toMatchObject({ sealed: 2, findings: [] });
  });

  test('leaves out no change, also none that only a later program can read', async () => {
    await inWorld(async (world) => {
      const { memory, service } = world;
      await putMany(world, 2);
      await service.sealer.seal(signal);
      await put(world, 'a');
      await memory.txn(
        {
          compare: [],
          success: [
            { type: 'put', key: changeKey('later'), value: Buffer.from('{"format":2}') },
            { type: 'put', key: HEAD_KEY, value: Buffer.from('later') },
          ],
          failure: [],
        },
        call,
      );
      await put(world, 'b');
      await service.projection.catchUp(signal);
      expect(await service.sealer.seal(signal)).toBe(3);
      await put(world, 'c');
      await service.projection.catchUp(signal);
      expect(await service.sealer.seal(signal)).toBe(1);
      expect(await verify(memory)).toMatchObject({ sealed: 6, unsealed: 0, findings: [] });
      expect((await service.audit.query(ada, { tenant: 'default' })).items).toHaveLength(5);
    });
  });

  test('several servers seal one chain together', async () => {
    await inWorld(async (world) => {
      const { service, memory } = world;
      const others = await Promise.all([1, 2].map(() => open(memory)));
      for (let round = 0; round < 20; round += 1) {
        await putMany(world, 9);
        for (const other of others) await other.projection.catchUp(signal);
        const counts = await Promise.all([service, ...others].map(({ sealer }) => sealer.seal(signal)));
        expect(counts.reduce((sum, count) => sum + count)).toBe(9);
      }
      expect(await verify(memory)).toMatchObject({ sealed: 180, unsealed: 0, findings: [] });
      for (const other of others) await other.close();
    });
  });

  test('a server that learns of changes only after others have sealed them does not seal them again', async () => {
    const memory = new MemoryKv();
    const gate = new Gate();
    await inWorld(
      async (world) => {
        await inWorld(
          async (slow) => {
            await putMany(world, 1);
            await slow.service.projection.catchUp(signal);
            gate.shut();
            await putMany(world, 2);
            expect(await world.service.sealer.seal(signal)).toBe(3);
            expect(await slow.service.sealer.seal(signal)).toBe(0);
            gate.open();
            await putMany(world, 1);
            await slow.service.projection.catchUp(signal);
            expect(await slow.service.sealer.seal(signal)).toBe(1);
            expect(await verify(memory)).toMatchObject({ sealed: 4, unsealed: 0, findings: [] });
          },
          { memory, wrap: (kv) => gate.before(kv) },
        );
      },
      { memory },
    );
  });

  test('goes on behind a compaction, after a restart, and by a server that saw nothing of it', async () => {
    const memory = new MemoryKv();
    await inWorld(
      async (world) => {
        await putMany(world, 10);
        await world.service.sealer.seal(signal);
        await putMany(world, 10);
      },
      { memory },
    );
    const { revision } = await memory.range(
      { key: Buffer.from('x'), consistency: { type: 'linearizable' } },
      call,
    );
    memory.compact(revision);
    await inWorld(
      async (world) => {
        expect(await world.service.sealer.seal(signal)).toBe(10);
        await putMany(world, 2);
        expect(await world.service.sealer.seal(signal)).toBe(2);
        expect(await verify(memory)).toMatchObject({ sealed: 22, unsealed: 0, findings: [] });
      },
      { memory },
    );
  });

  test('a transaction whose outcome is unknown is not sealed twice', async () => {
    const memory = new MemoryKv();
    let fails = 0;
    const wrap = (kv: Kv): Kv =>
      new Proxy(kv, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name);
          if (typeof value !== 'function') return value;
          if (name !== 'txn') return value.bind(target) as unknown;
          return async (...args: Parameters<Kv['txn']>) => {
            const answer = await target.txn(...args);
            const isSeal = args[0].success.some((op) => op.key.equals(SEAL_HEAD_KEY));
            if (!isSeal || fails === 0) return answer;
            fails -= 1;
            throw new KvError('ambiguous', 'request timed out');
          };
        },
      });
    await inWorld(
      async (world) => {
        await putMany(world, 5);
        fails = 1;
        await world.service.sealer.seal(signal);
        expect(await verify(memory)).toMatchObject({ sealed: 5, unsealed: 0, findings: [] });
      },
      { memory, wrap },
    );
  });
});

describe('what was done to the records afterwards is found', () => {
  const tampered: readonly (readonly [
    string,
    (memory: MemoryKv, ids: readonly string[]) => Promise<unknown>,
    (ids: readonly string[]) => object,
  ])[] = [
    [
      'one was changed',
      async (memory, ids) => {
        const row = (await rowOf(memory, changeKey(ids[70]!)))!;
        await overwrite(memory, row.key, Buffer.from(row.value.toString().replace('ada', 'bob')));
      },
      (ids) => ({ type: 'changed', id: ids[70] }),
    ],
    [
      'one was put again as it was',
      async (memory, ids) => {
        const row = (await rowOf(memory, changeKey(ids[3]!)))!;
        await overwrite(memory, row.key, row.value);
      },
      (ids) => ({ type: 'changed', id: ids[3] }),
    ],
    [
      'one was removed',
      (memory, ids) => remove(memory, changeKey(ids[99]!)),
      (ids) => ({ type: 'removed', id: ids[99] }),
    ],
  ];

  test.each(tampered)('%s', async (_, tamper, finding) => {
    await inWorld(async (world) => {
      const ids = await putMany(world, 100);
      await world.service.sealer.seal(signal);
      await tamper(world.memory, ids);
      const { findings } = await verify(world.memory);
      expect(findings).toEqual([expect.objectContaining(finding(ids))]);
    });
  });

  test('a block was removed, or changed, or the head was', async () => {
    await inWorld(async (world) => {
      const { memory, service } = world;
      await putMany(world, 2 * BLOCK_ENTRIES + 3);
      await service.sealer.seal(signal);
      const { head } = await readSealHead(memory, signal);
      const first = head.open.entries[0]!;
      expect(first).toBeDefined();
      const headRow = (await rowOf(memory, SEAL_HEAD_KEY))!;
      await overwrite(memory, SEAL_HEAD_KEY, Buffer.from(headRow.value.toString().replace(head.link, 'x')));
      expect((await verify(memory)).findings).toMatchObject([{ type: 'chain' }]);
      await overwrite(memory, SEAL_HEAD_KEY, headRow.value);
      expect((await verify(memory)).findings).toEqual([]);

      const blocks = await memory.range(
        { key: sealKey(0), rangeEnd: SEAL_HEAD_KEY, consistency: { type: 'linearizable' } },
        call,
      );
      const [, second] = blocks.rows;
      const text = second!.value.toString();
      const hash = /"([\w-]{43})"\]/.exec(text)![1]!;
      await overwrite(memory, second!.key, Buffer.from(text.replace(hash, 'A'.repeat(43))));
      const changed = (await verify(memory)).findings.map(({ type }) => type);
      expect(changed).toEqual(['changed', 'chain']);
      await overwrite(memory, second!.key, Buffer.from('{'));
      const unreadable = (await verify(memory)).findings.filter(({ type }) => type === 'chain');
      expect(unreadable).toMatchObject([{ message: expect.stringContaining('not JSON') as unknown }]);
      await remove(memory, second!.key);
      const removed = (await verify(memory)).findings.map(({ type }) => type);
      expect(removed.slice(0, 1)).toEqual(['chain']);
      expect(removed.filter((type) => type === 'not-sealed')).toHaveLength(BLOCK_ENTRIES);
    });
  });

  test('a chain made anew is not the one that was written down', async () => {
    await inWorld(async (world) => {
      const { memory } = world;
      const ids = await putMany(world, 10);
      await world.service.sealer.seal(signal);
      const { anchor } = await verify(memory);
      await remove(memory, SEAL_HEAD_KEY);
      await remove(memory, changeKey(ids[4]!));
      const projection = world.service.projection;
      await new Sealer(memory, { projection, logger: silentLogger }).seal(signal);
      expect(await verify(memory)).toMatchObject({ sealed: 9, findings: [] });
      const found = await verifyAudit(memory, { signal, anchor });
      expect(found.findings).toMatchObject([{ type: 'chain' }]);
    });
  });

  test('one was removed before it could be sealed', async () => {
    await inWorld(async (world) => {
      const ids = await putMany(world, 3);
      await world.service.sealer.seal(signal);
      const [lost] = await putMany(world, 2);
      await remove(world.memory, changeKey(lost!));
      await world.service.sealer.seal(signal);
      expect(ids).toHaveLength(3);
      expect((await verify(world.memory)).findings).toEqual([
        expect.objectContaining({ type: 'lost-before-sealing', id: lost }),
      ]);
    });
  });
});

function open(memory: MemoryKv): Promise<Service> {
  return openService({
    kv: memory,
    clock: new TestClock(),
    logger: silentLogger,
    keyring: KEYRING,
    sweeps: false,
    signal,
  });
}
