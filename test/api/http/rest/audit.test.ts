import { describe, expect, test } from 'vitest';
import { withTxn } from '../../../service/kv-wrappers.ts';
import { ada, callerOf, named } from '../../../service/world.ts';
import { eventually } from '../../../support/eventually.ts';
import { expectProblem, inRestWorld, type RestWorld } from './rest-world.ts';

const AGENT = 'a'.repeat(300);

/** A value that changes, a secret that is shown, an environment, and a release. */
async function history({ service, clock, post, put, get }: RestWorld): Promise<void> {
  const name = { application: 'pay', environment: 'production', key: 'limit' };
  const made = await post(
    '/api/v1/configurations',
    { ...name, value: 1, reason: 'first' },
    { 'x-conclave-user': 'ada', 'user-agent': AGENT },
  );
  clock.advance(1_000);
  await put(
    `/api/v1/configurations/${made.body.id}`,
    { value: 2, description: 'more', changeSet: 'r1' },
    { 'x-conclave-user': 'eve' },
  );
  clock.advance(1_000);
  await service.configurations.create(ada, { name: named('token'), type: 'secret', value: { json: 'hush' } });
  clock.advance(1_000);
  await get('/configs/lookup?application=pay&environment=PROD&key=token&reveal=true', {
    'x-conclave-user': 'eve',
  });
  clock.advance(1_000);
  await post('/api/v1/environments', { id: 'qa', parent: 'test' }, { 'x-conclave-user': 'ada' });
}

describe('GET /api/v1/audit', () => {
  test('tells who did what, when, why and from where, with the values before and after', async () => {
    await inRestWorld(async (world) => {
      await history(world);
      const { status, headers, body } = await world.get('/api/v1/audit');
      expect(status).toBe(200);
      expect(body.next).toBe(null);
      expect(Number(headers['conclave-revision'])).toBeGreaterThanOrEqual(body.items[0].revision);
      const said = body.items.map(({ operation }: { operation: string }) => operation);
      expect(said).toEqual(['environment', 'reveal', 'create', 'update', 'create']);
      const [environment, reveal, secret, update, create] = body.items;
      expect(create).toMatchObject({
        at: '2026-03-01T00:00:00.000Z',
        actor: { name: 'ada', authenticated: false, claimed: null, address: '127.0.0.1' },
        reason: 'first',
        changeSet: null,
      });
      expect(create.actor.agent).toBe(AGENT.slice(0, 256));
      expect(create.items[0]).toMatchObject({
        kind: 'configuration',
        type: 'created',
        environment: 'production',
        application: 'pay',
        key: 'limit',
        versionBefore: 0,
        versionAfter: 1,
        oldValue: null,
        newValue: { type: 'integer', value: 1, masked: false },
      });
      expect(update).toMatchObject({ actor: { name: 'eve' }, changeSet: 'r1' });
      expect(update.items[0]).toMatchObject({
        oldValue: { value: 1 },
        newValue: { value: 2 },
        fields: [{ name: 'description', before: '', after: 'more' }],
      });
      const masked = { type: 'secret', value: '********', masked: true };
      expect(secret.items[0]).toMatchObject({ type: 'created', newValue: masked });
      expect(reveal).toMatchObject({ actor: { name: 'eve' } });
      expect(reveal.items[0]).toMatchObject({ type: 'revealed', key: 'token', newValue: masked });
      expect(environment.items[0]).toMatchObject({ kind: 'environment', environment: 'qa', key: null });
      expect(JSON.stringify(body)).not.toContain('hush');
    });
  });

  test.each([
    ['actor=eve', ['reveal', 'update']],
    ['operation=reveal', ['reveal']],
    ['changeSet=r1', ['update']],
    ['environment=PROD&key=limit', ['update', 'create']],
    ['application=pay&keyPrefix=to', ['reveal', 'create']],
    ['environment=qa', ['environment']],
    ['from=2026-03-01T00:00:01Z&to=2026-03-01T00:00:03Z', ['create', 'update']],
    ['application=ship', []],
  ])('%s', async (query, operations) => {
    await inRestWorld(async (world) => {
      await history(world);
      const { body } = await world.get(`/api/v1/audit?${query}`);
      expect(body.items.map(({ operation }: { operation: string }) => operation)).toEqual(operations);
    });
  });

  test('comes in pages by a cursor, each change once', async () => {
    await inRestWorld(async (world) => {
      await history(world);
      const all = (await world.get('/api/v1/audit')).body.items;
      const seen: unknown[] = [];
      let cursor: number | null = null;
      do {
        const at: string = cursor === null ? '' : `&cursor=${cursor}`;
        const { body } = await world.get(`/api/v1/audit?size=2${at}`);
        expect(body.items.length).toBeLessThanOrEqual(2);
        seen.push(...body.items);
        cursor = body.next;
      } while (cursor !== null);
      expect(seen).toEqual(all);
    });
  });

  test.each([
    ['from=yesterday', ['from']],
    ['size=0', ['size']],
    ['size=1001', ['size']],
    ['cursor=-1', ['cursor']],
    ['operation=steal', ['operation']],
    ['environment=a%2Fb', ['environment']],
    ['colour=red', ['colour']],
  ])('refuses %s', async (query, fields) => {
    await inRestWorld(async ({ get }) => {
      expectProblem(await get(`/api/v1/audit?${query}`), 400, fields);
    });
  });

  test('of one tenant tells nothing of another', async () => {
    await inRestWorld(async (world) => {
      await history(world);
      const { body } = await world.get('/api/v1/audit', { 'x-conclave-tenant': 'other' });
      expect(body).toEqual({ items: [], next: null });
    });
  });
});

describe('GET /api/v1/audit/export', () => {
  test('gives the entries as lines of JSON, or as CSV', async () => {
    await inRestWorld(async (world) => {
      await history(world);
      const { items } = (await world.get('/api/v1/audit?actor=ada')).body;
      const lines = await world.get('/api/v1/audit/export?actor=ada');
      expect(lines.headers['content-type']).toBe('application/x-ndjson; charset=utf-8');
      const parsed = lines.text.trimEnd().split('\n');
      expect(parsed.map((line) => JSON.parse(line) as unknown)).toEqual(items);
      const csv = await world.get('/api/v1/audit/export?format=csv&key=token');
      expect(csv.headers['content-type']).toBe('text/csv; charset=utf-8');
      const [head, ...rows] = csv.text.trimEnd().split('\r\n');
      expect(head).toMatch(/^revision,change_id,at,actor,/);
      expect(rows.map((row) => row.split(',')[3])).toEqual(['eve', 'ada']);
      expect(csv.text).not.toContain('hush');
      expect((await world.get('/api/v1/audit/export?actor=nobody')).text).toBe('');
    });
  });

  test('refuses what it cannot do before it begins', async () => {
    await inRestWorld(async ({ get }) => {
      expectProblem(await get('/api/v1/audit/export?format=xml'), 400, ['format']);
      expectProblem(await get('/api/v1/audit/export?format=csv&to=never'), 400, ['to']);
    });
  });

  test('only so many go on at once', async () => {
    let gate: Promise<void> = Promise.resolve();
    await inRestWorld(
      async (world) => {
        await history(world);
        let open = (): void => undefined;
        gate = new Promise((resolve) => {
          open = resolve;
        });
        const held = world.get('/api/v1/audit/export');
        const refused = await eventually('another export was refused', async () => {
          const answer = await world.get('/api/v1/audit/export?actor=nobody');
          return answer.status === 429 ? answer : undefined;
        });
        expect(refused.headers['retry-after']).toBe('1');
        open();
        expect((await held).text.trimEnd().split('\n')).toHaveLength(5);
        expect((await world.get('/api/v1/audit/export')).status).toBe(200);
      },
      {
        rest: { limits: { auditExportsMax: 1 } },
        wrap: (kv) => ({
          ...withTxn(kv, async (perform, request, call) => perform(request, call)),
          txn: async (request, call) => {
            await gate;
            return kv.txn(request, call);
          },
        }),
      },
    );
  });
});

test('GET /api/v1/audit/seal names the end of the chain', async () => {
  await inRestWorld(async (world) => {
    expect((await world.get('/api/v1/audit/seal')).body).toEqual({ sealed: 0, revision: 0, anchor: '0:' });
    await history(world);
    await world.service.sealer.seal(callerOf('test').signal);
    const { body } = await world.get('/api/v1/audit/seal');
    expect(body).toEqual({
      sealed: 5,
      revision: (await world.get('/api/v1/audit')).body.items[0].revision,
      anchor: expect.stringMatching(/^5:[\w-]{43}$/),
    });
  });
});
