import { describe, expect, test } from 'vitest';
import type { EvaluationContext } from '../../../src/evaluation/evaluation.ts';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import { USAGE_COUNTS_MAX, USAGE_KEEP_HOURS } from '../../../src/service/flags/flag-usage.ts';
import type { Scope } from '../../../src/service/model.ts';
import { failure } from '../failure.ts';
import { ada, inWorld, TestClock, type World } from '../world.ts';

const SCOPE: Scope = { tenant: 'default', environment: 'production', application: 'shop' };
const HOUR_MS = 3_600_000;

async function flag({ service }: World, key: string): Promise<void> {
  await service.features.put(ada, {
    name: { kind: 'flag', ...SCOPE, key },
    definition: {
      type: 'boolean',
      variants: { on: true, off: false },
      fallthrough: { variant: 'off' },
      rules: [
        { when: [{ attribute: 'plan', operator: 'EQUALS', values: ['gold'] }], serve: { variant: 'on' } },
      ],
    },
  });
}

async function evaluate({ service }: World, key: string, context: EvaluationContext): Promise<void> {
  await service.flagReads.evaluate(ada, { scope: SCOPE, key, context });
}

async function counted({ service }: World, more: object = {}) {
  const lines = await service.usageReports.report(ada, { scope: SCOPE, ...more });
  return lines.map(({ hour, flag: key, variant, reason, service: by, count }) => [
    hour,
    key,
    variant,
    reason,
    by,
    count,
  ]);
}

describe('counts', () => {
  test('tell flag, variant, reason and service apart, and flags that are none are not counted', async () => {
    await inWorld(async (world) => {
      await flag(world, 'a');
      await evaluate(world, 'a', { plan: 'gold', service: 'web' });
      await evaluate(world, 'a', { plan: 'gold', service: 'web' });
      await evaluate(world, 'a', { plan: 'gold' });
      await evaluate(world, 'a', {});
      await evaluate(world, 'none', {});
      const hour = '2026-03-01T00:00:00Z';
      expect(await counted(world)).toEqual([
        [hour, 'a', 'off', 'DEFAULT', null, 1],
        [hour, 'a', 'on', 'TARGETING_MATCH', 'web', 2],
        [hour, 'a', 'on', 'TARGETING_MATCH', null, 1],
      ]);
      expect(await counted(world, { service: 'web' })).toHaveLength(1);
      expect(await counted(world, { flag: 'b' })).toEqual([]);
    });
  });

  test('of several servers are summed up, and outlive them; old hours go', async () => {
    const memory = new MemoryKv();
    const clock = new TestClock();
    await inWorld(
      async (one) => {
        await flag(one, 'a');
        await inWorld(
          async (other) => {
            await evaluate(one, 'a', {});
            await evaluate(other, 'a', {});
            await other.service.flagUsage.flush();
            expect(await counted(one)).toEqual([['2026-03-01T00:00:00Z', 'a', 'off', 'DEFAULT', null, 2]]);
            // More of the same hour is not counted twice.
            await evaluate(other, 'a', {});
            await other.service.flagUsage.flush();
            await one.service.flagUsage.flush();
            expect((await counted(one))[0]!.at(-1)).toBe(3);
          },
          { memory, clock },
        );
        clock.advance(HOUR_MS);
        await evaluate(one, 'a', {});
        await one.service.flagUsage.flush();
      },
      { memory, clock },
    );
    await inWorld(
      async (later) => {
        expect((await counted(later)).map((line) => [line[0], line.at(-1)])).toEqual([
          ['2026-03-01T00:00:00Z', 3],
          ['2026-03-01T01:00:00Z', 1],
        ]);
        const { ms } = clock;
        clock.advance(USAGE_KEEP_HOURS * HOUR_MS);
        await evaluate(later, 'a', {});
        await later.service.flagUsage.flush();
        const range = { from: new Date(ms - HOUR_MS).toISOString(), to: new Date(ms).toISOString() };
        expect((await counted(later, range)).map((line) => line[0])).toEqual(['2026-03-01T01:00:00Z']);
      },
      { memory, clock },
    );
  });

  test('are bounded: services are not told apart any more, and then nothing is', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await flag(world, 'a');
      const count = (key: string, by: string | null) =>
        service.flagUsage.count(SCOPE, { flag: key, variant: 'on', reason: 'STATIC', service: by, count: 1 });
      count('a', null);
      for (let at = 0; at < USAGE_COUNTS_MAX + 9; at += 1) count('a', `service-${at}`);
      const lines = await counted(world);
      expect(lines).toHaveLength(USAGE_COUNTS_MAX);
      expect(lines.find((line) => line[4] === null)!.at(-1)).toBe(11);
      count('b', null);
      expect(service.flagUsage.uncounted).toBe(1);
    });
  });

  test('of clients that evaluate themselves are added, within bounds', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await flag(world, 'a');
      const one = { flag: 'a', variant: 'on', reason: 'SPLIT', service: 'web', count: 40 };
      await service.usageReports.add(ada, { scope: SCOPE, counts: [one, { ...one, count: 2 }] });
      expect((await counted(world))[0]!.at(-1)).toBe(42);
      const wrong = [
        { ...one, count: 0 },
        { ...one, flag: '' },
      ];
      await expect(service.usageReports.add(ada, { scope: SCOPE, counts: wrong })).rejects.toThrow(
        failure('invalid', 'counts/0/count', 'counts/1/flag'),
      );
      const many = Array.from({ length: 1_001 }, () => one);
      await expect(service.usageReports.add(ada, { scope: SCOPE, counts: many })).rejects.toThrow(
        failure('invalid', 'counts'),
      );
      const long = { from: '2026-01-01T00:00:00Z', to: '2026-03-01T00:00:00Z' };
      await expect(counted(world, long)).rejects.toThrow(failure('invalid', 'from'));
      await expect(counted(world, { from: 'yesterday' })).rejects.toThrow(failure('invalid', 'from'));
    });
  });
});
