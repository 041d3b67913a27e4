import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Kv, KvCall } from '../../../src/kv/kv.ts';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { AuditFilter } from '../../../src/service/audit/audit-filter.ts';
import type { AuditEntry } from '../../../src/service/audit/audit-view.ts';
import { type AuditFormat, auditLines } from '../../../src/service/audit/export.ts';
import { changeKey, versionKey } from '../../../src/service/keyspace.ts';
import { openService, type Service } from '../../../src/service/service.ts';
import { withTxn } from '../kv-wrappers.ts';
import { ada, callerOf, inWorld, KEYRING, named, TestClock } from '../world.ts';

const { signal } = new AbortController();
const call: KvCall = { principal: { type: 'service' }, signal };
const ALL: AuditFilter = { tenant: 'default' };
const eve = callerOf('eve');
const START_MS = new TestClock().ms;

async function everything(service: Service, filter: AuditFilter, size: number): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  let cursor: number | undefined;
  for (;;) {
    const page = await service.audit.query(ada, { ...filter, cursor, size });
    expect(page.items.length).toBeLessThanOrEqual(size);
    found.push(...page.items);
    if (page.next === null) return found;
    cursor = page.next;
  }
}

describe('the audit', () => {
  test('says who changed what, when, why and from where, with the values before and after', async () => {
    await inWorld(async ({ service, clock }) => {
      const name = named('db.pool.max');
      const made = await service.configurations.create(ada, { name, value: { json: 20 }, reason: 'first' });
      clock.advance(1_000);
      await service.configurations.update(eve, {
        ref: name,
        value: { json: 30 },
        tags: ['db'],
        changeSet: 'r1',
      });
      await service.configurations.delete(ada, { ref: name });
      const { items, next, revision } = await service.audit.query(ada, ALL);
      expect(next).toBeNull();
      expect(revision).toBe(items[0]!.revision);
      expect(items).toMatchObject([
        {
          operation: 'delete',
          actor: { name: 'ada', address: '127.0.0.1' },
          items: [
            { type: 'deleted', versionBefore: 2, versionAfter: 3, oldValue: { json: 30 }, newValue: null },
          ],
        },
        {
          operation: 'update',
          at: '2026-03-01T00:00:01.000Z',
          actor: { name: 'eve' },
          changeSet: 'r1',
          items: [
            {
              oldValue: { json: 20, isMasked: false },
              newValue: { json: 30 },
              fields: [{ name: 'tags', before: [], after: ['db'] }],
            },
          ],
        },
        {
          id: made.changeId,
          revision: made.revision,
          operation: 'create',
          reason: 'first',
          at: '2026-03-01T00:00:00.000Z',
          items: [
            {
              kind: 'configuration',
              environment: 'production',
              application: 'pay',
              key: 'db.pool.max',
              versionBefore: 0,
              versionAfter: 1,
              oldValue: null,
              newValue: { type: 'integer', json: 20 },
            },
            { kind: 'application', type: 'created', application: 'pay', environment: null },
          ],
        },
      ]);
    });
  });

  test('masks secrets, and tells who had them shown', async () => {
    await inWorld(async ({ service }) => {
      const name = named('password');
      await service.configurations.create(ada, { name, value: { json: 'hunter2' }, type: 'secret' });
      await service.configurations.update(ada, { ref: name, value: { json: 'hunter3' } });
      await service.reads.lookup(eve, { name, reveal: true });
      const { items } = await service.audit.query(ada, ALL);
      expect(items).toMatchObject([
        {
          operation: 'reveal',
          actor: { name: 'eve' },
          items: [{ type: 'revealed', key: 'password', newValue: { json: '********', isMasked: true } }],
        },
        { items: [{ oldValue: { json: '********' }, newValue: { json: '********' } }] },
        {},
      ]);
      expect(JSON.stringify(items)).not.toContain('hunter');
      expect((await service.audit.query(ada, { ...ALL, operation: 'reveal' })).items).toHaveLength(1);
    });
  });

  test('tells field by field what was done to environments and applications', async () => {
    await inWorld(async ({ service }) => {
      await service.environments.create(ada, { tenant: 'default', id: 'qa', parent: 'test' });
      await service.applications.create(ada, { tenant: 'default', name: 'pay', defaults: { a: 1 } });
      await service.environments.delete(ada, { tenant: 'default', id: 'qa' });
      const { items } = await service.audit.query(ada, ALL);
      expect(items.map(({ items: [item] }) => item)).toMatchObject([
        {
          kind: 'environment',
          type: 'deleted',
          environment: 'qa',
          fields: [{ name: 'parent', before: 'test' }],
        },
        {
          kind: 'application',
          application: 'pay',
          fields: [
            { name: 'description' },
            { name: 'defaults', before: null, after: { a: 1 } },
            { name: 'rules' },
          ],
        },
        { kind: 'environment', type: 'created', fields: [{ name: 'parent', before: null, after: 'test' }] },
      ]);
      expect((await service.audit.query(ada, { ...ALL, environment: 'qa' })).items).toHaveLength(2);
      expect((await service.audit.query(ada, { ...ALL, application: 'pay' })).items).toHaveLength(1);
    });
  });

  test('goes on without a version that is not kept, and without a record that is gone', async () => {
    await inWorld(async ({ service, memory }) => {
      const made = await service.configurations.create(ada, { name: named('a'), value: { json: 1 } });
      const lost = await service.configurations.update(ada, { ref: named('a'), value: { json: 2 } });
      await service.configurations.update(ada, { ref: named('a'), value: { json: 3 } });
      const { id } = made.items[0]!.after;
      const keys = [versionKey(id, 2), changeKey(lost.changeId!)];
      const success = keys.map((key) => ({ type: 'delete', key }) as const);
      await memory.txn({ compare: [], success, failure: [] }, call);
      const { items } = await service.audit.query(ada, ALL);
      expect(items).toMatchObject([
        { items: [{ oldValue: null, newValue: { json: 3 }, versionsNotKept: [2] }] },
        { items: [{ newValue: { json: 1 }, versionsNotKept: [] }, {}] },
      ]);
    });
  });

  test('shows only what its reader may read', async () => {
    let prefix = '/';
    const permitting = (kv: Kv): Kv => ({
      ...withTxn(kv, (perform, request, each) => perform(request, each)),
      permits: ({ key }) => Promise.resolve({ user: 'ada', permitted: key.toString().startsWith(prefix) }),
    });
    await inWorld(
      async ({ service }) => {
        await service.configurations.bulk(ada, {
          tenant: 'default',
          items: ['db.a', 'log'].map((key) => ({ action: 'put', ref: named(key), value: { json: 1 } })),
        });
        await service.configurations.put(ada, { name: named('log'), value: { json: 2 } });
        prefix = '/default/production/pay/db.';
        const { items } = await service.audit.query(ada, ALL);
        expect(items.map((entry) => entry.items.map(({ key }) => key))).toEqual([['db.a']]);
        expect((await service.audit.query(ada, { tenant: 'other' })).items).toEqual([]);
      },
      { wrap: permitting },
    );
  });

  test('refuses what is no time, page or cursor', async () => {
    await inWorld(async ({ service }) => {
      const refused = async (query: object, field: string): Promise<void> => {
        await expect(service.audit.query(ada, { ...ALL, ...query })).rejects.toMatchObject({
          code: 'invalid',
          problems: [{ field }],
        });
      };
      await refused({ from: 'yesterday' }, 'from');
      await refused({ to: '32nd' }, 'to');
      await refused({ size: 0 }, 'size');
      await refused({ size: 1_001 }, 'size');
      await refused({ cursor: -1 }, 'cursor');
      await refused({ tenant: '' }, 'tenant');
    });
  });
});

describe('pages', () => {
  const keys = ['a', 'b.c', 'b.d'];
  const change = fc.record({
    actor: fc.constantFrom('ada', 'eve'),
    key: fc.constantFrom(...keys),
    environment: fc.constantFrom('test', 'production'),
    changeSet: fc.constantFrom(undefined, 'r1', 'r2'),
    next: fc.constantFrom('', 'seal', 'compact', 'restart'),
  });
  const filter = fc.record(
    {
      actor: fc.constantFrom('ada', 'eve', 'nobody'),
      environment: fc.constantFrom('test', 'production'),
      application: fc.constantFrom('pay', 'ship'),
      key: fc.constantFrom(...keys),
      keyPrefix: fc.constantFrom('a', 'b.'),
      changeSet: fc.constantFrom('r1', 'r2', 'r3'),
      from: fc.integer({ min: 0, max: 100 }).map((s) => new Date(START_MS + s * 1_000).toISOString()),
    },
    { requiredKeys: [] },
  );

  test('hold everything that a filter means, newest first, each once, from memory and from the store', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { minLength: 1, maxLength: 100 }),
        fc.array(filter, { minLength: 1, maxLength: 4 }),
        fc.constantFrom(1, 10, 500_000),
        fc.integer({ min: 1, max: 20 }),
        async (changes, filters, indexedChangesMax, size) => {
          const memory = new MemoryKv();
          const clock = new TestClock();
          const options = {
            kv: memory,
            clock,
            logger: silentLogger,
            keyring: KEYRING,
            sweeps: false,
            signal,
          };
          let service = await openService({ ...options, indexedChangesMax });
          const expected: (Omit<(typeof changes)[0], 'next'> & {
            readonly id: string;
            readonly at: string;
          })[] = [];
          for (const [json, { next, ...each }] of changes.entries()) {
            clock.advance(1_000);
            const { actor, changeSet } = each;
            const name = named(each.key, { environment: each.environment });
            const answer = await service.configurations.put(callerOf(actor), {
              name,
              value: { json },
              changeSet,
            });
            expected.unshift({ ...each, id: answer.changeId!, at: new Date(clock.ms).toISOString() });
            await service.projection.catchUp(signal);
            if (next === 'seal') await service.sealer.seal(signal);
            if (next === 'compact') memory.compact(service.projection.revision);
            if (next === 'restart') {
              await service.close();
              service = await openService({ ...options, indexedChangesMax });
            }
          }
          for (const each of filters) {
            const wanted = expected.filter((one) => isMeant(each, one)).map(({ id }) => id);
            const found = await everything(service, { ...ALL, ...each }, size);
            expect(found.map(({ id }) => id)).toEqual(wanted);
          }
          await service.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  function isMeant(
    wanted: Omit<AuditFilter, 'tenant'>,
    one: {
      readonly actor: string;
      readonly key: string;
      readonly environment: string;
      readonly changeSet: string | undefined;
      readonly at: string;
    },
  ): boolean {
    return (
      (wanted.actor === undefined || wanted.actor === one.actor) &&
      (wanted.environment === undefined || wanted.environment === one.environment) &&
      (wanted.application === undefined || wanted.application === 'pay') &&
      (wanted.key === undefined || wanted.key === one.key) &&
      (wanted.keyPrefix === undefined || one.key.startsWith(wanted.keyPrefix)) &&
      (wanted.changeSet === undefined || wanted.changeSet === one.changeSet) &&
      (wanted.from === undefined || one.at >= wanted.from)
    );
  }
});

describe('the export', () => {
  test('is JSON line by line, or CSV that no spreadsheet calculates', async () => {
    await inWorld(async ({ service }) => {
      await service.configurations.create(callerOf('=cmd()'), {
        name: named('a'),
        value: { json: 'say "hi", twice' },
        reason: 'two\nlines',
      });
      await service.configurations.delete(ada, { ref: named('a') });
      const lines: string[] = [];
      const piecesOf = (format: AuditFormat) =>
        auditLines(service.audit.entries(ada, ALL), {
          format,
          shape: ({ id, revision }) => ({ id, revision }),
        });
      for await (const piece of piecesOf('jsonl')) lines.push(piece);
      const { items } = await service.audit.query(ada, ALL);
      expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
        items.map(({ id, revision }) => ({ id, revision })),
      );
      expect(lines.every((line) => line.endsWith('\n'))).toBe(true);

      let csv = '';
      for await (const piece of piecesOf('csv')) csv += piece;
      const rows = csv.split('\r\n');
      expect(rows[0]!.split(',').slice(0, 4)).toEqual(['revision', 'change_id', 'at', 'actor']);
      expect(rows).toHaveLength(1 + 1 + 2 + 1);
      expect(rows[1]).toContain(',ada,');
      expect(rows[2]).toContain(",'=cmd(),");
      expect(rows[2]).toContain('"two\nlines"');
      expect(rows[2]).toContain('"""say \\""hi\\"", twice"""');
    });
  });
});
