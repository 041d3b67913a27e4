import { describe, expect, test } from 'vitest';
import { MemoryKv } from '../../../src/kv/memory-kv.ts';
import { WAITING_VARIANTS_MAX } from '../../../src/service/flags/exposures.ts';
import type { Scope } from '../../../src/service/model.ts';
import { failure } from '../failure.ts';
import { ada, inWorld, type World } from '../world.ts';

const SCOPE: Scope = { tenant: 'default', environment: 'production', application: 'shop' };

async function flag({ service }: World, key: string, variants: readonly string[] = ['a', 'b', 'c']) {
  await service.features.put(ada, {
    name: { kind: 'flag', ...SCOPE, key },
    definition: {
      type: 'string',
      variants: Object.fromEntries(variants.map((name) => [name, name])),
      offVariant: 'b',
      fallthrough: { variant: variants[0]! },
    },
  });
}

/** Of `size` users the first `hits` did what was hoped for. */
async function tell(
  { service }: World,
  { variant, size, hits, from = 0 }: { variant: string; size: number; hits: number; from?: number },
) {
  const exposures = Array.from({ length: size }, (_, at) => ({
    flag: 'cta',
    variant,
    targetingKey: `user-${from + at}`,
    converted: at < hits,
  }));
  await service.experiments.add(ada, { scope: SCOPE, exposures });
}

async function lines({ service }: World, more: object = {}) {
  return service.experiments.report(ada, { scope: SCOPE, ...more });
}

describe('experiments', () => {
  test('count everybody once, whichever server hears of them, and compare with the off variant', async () => {
    const memory = new MemoryKv();
    await inWorld(
      async (one) => {
        await flag(one, 'cta');
        await flag(one, 'quiet');
        await inWorld(
          async (other) => {
            await tell(one, { variant: 'b', size: 80, hits: 48 });
            await tell(other, { variant: 'b', size: 80, hits: 40 });
            await tell(other, { variant: 'a', size: 70, hits: 56, from: 100 });
            await tell(one, { variant: 'a', size: 30, hits: 0, from: 100 });
            // In either order, and again.
            await one.service.exposures.flush();
            await other.service.exposures.flush();
            await tell(one, { variant: 'a', size: 70, hits: 56, from: 100 });
            await one.service.exposures.flush();
            const found = await lines(other);
            expect(found).toMatchObject([
              { flag: 'cta', variant: 'b', isControl: true, exposures: 80, conversions: 48, pValue: null },
              {
                variant: 'a',
                isControl: false,
                since: '2026-03-01T00:00:00.000Z',
                exposures: 70,
                conversions: 56,
                rate: 0.8,
                difference: 0.2,
                test: 'z',
                isSignificant: true,
              },
            ]);
            expect(found[1]!.differenceLow).toBeCloseTo(0.0524, 4);
            expect(await lines(other, { flag: 'quiet' })).toEqual([]);
            expect((await lines(other, { flag: 'cta', control: 'a' }))[0]).toMatchObject({ variant: 'a' });
          },
          { memory },
        );
      },
      { memory },
    );
    // What was written outlives the servers.
    await inWorld(
      async (later) => {
        expect(await lines(later)).toHaveLength(2);
        await later.service.experiments.reset(ada, { scope: SCOPE, flag: 'cta' });
        expect(await lines(later)).toEqual([]);
        const again = later.service.experiments.reset(ada, { scope: SCOPE, flag: 'cta' });
        await expect(again).rejects.toThrow(failure('not-found'));
      },
      { memory },
    );
  });

  test('are written before a server is closed, and seen before they are written', async () => {
    const memory = new MemoryKv();
    await inWorld(
      async (world) => {
        await flag(world, 'cta');
        await tell(world, { variant: 'a', size: 3, hits: 1 });
        expect(await lines(world)).toMatchObject([{ variant: 'a', isControl: true, exposures: 3 }]);
      },
      { memory },
    );
    await inWorld(
      async (world) => expect(await lines(world)).toMatchObject([{ exposures: 3, conversions: 1 }]),
      { memory },
    );
  });

  test('take none of several when one is wrong', async () => {
    await inWorld(async (world) => {
      await flag(world, 'cta');
      await flag(
        world,
        'many',
        Array.from({ length: 11 }, (_, at) => String.fromCharCode(97 + at)),
      );
      const one = { flag: 'cta', variant: 'a', targetingKey: 'ada', converted: false };
      const wrong = [
        one,
        { ...one, flag: 'none' },
        { ...one, variant: 'z' },
        { ...one, targetingKey: '' },
        { ...one, flag: 'many' },
      ];
      const add = (exposures: readonly (typeof one)[]) =>
        world.service.experiments.add(ada, { scope: SCOPE, exposures });
      await expect(add(wrong)).rejects.toThrow(
        failure(
          'invalid',
          'exposures/1/flag',
          'exposures/2/variant',
          'exposures/3/targetingKey',
          'exposures/4/flag',
        ),
      );
      expect(await lines(world)).toEqual([]);
      await expect(add(Array.from({ length: 1_001 }, () => one))).rejects.toThrow(
        failure('invalid', 'exposures'),
      );
      await add([one]);
      await expect(lines(world, { flag: 'cta', control: 'b' })).rejects.toThrow(
        failure('invalid', 'control'),
      );
    });
  });

  test('wait in bounds: what is too much is refused until it is written', async () => {
    await inWorld(async ({ service }) => {
      const exposures = Array.from({ length: WAITING_VARIANTS_MAX }, (_, at) => ({
        flag: `f${at}`,
        variant: 'a',
        targetingKey: 'ada',
        converted: false,
      }));
      service.exposures.add(SCOPE, exposures);
      service.exposures.add(SCOPE, exposures);
      const more = [{ ...exposures[0]!, variant: 'b' }];
      expect(() => service.exposures.add(SCOPE, more)).toThrow(failure('too-many-requests'));
      await service.exposures.flush();
      service.exposures.add(SCOPE, more);
    });
  });
});
