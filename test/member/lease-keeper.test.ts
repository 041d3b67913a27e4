import { expect, test } from 'vitest';
import type { Operation } from '../../src/core/command.ts';
import { Lessor } from '../../src/core/lease/lessor.ts';
import type { Applied } from '../../src/core/state-machine.ts';
import { LeaseKeeper } from '../../src/member/lease-keeper.ts';
import { ManualClock } from './manual-clock.ts';

const TICK_MS = 50;

/** A leader whose proposals are applied at once. */
function keeperOf(leases: number) {
  const clock = new ManualClock();
  const lessor = new Lessor();
  const batches: number[] = [];
  const propose = async (operation: Operation): Promise<Applied> => {
    if (operation.type === 'lease-expire') {
      batches.push(operation.ids.length);
      for (const id of operation.ids) lessor.revoke(id);
    }
    return {
      index: 1,
      proposal: null,
      outcome: { ok: true, result: { type: 'none' } },
      events: [],
      revision: 1,
    };
  };
  const keeper = new LeaseKeeper({
    clock,
    lessor: () => lessor,
    extendMs: 0,
    propose,
    linearizable: async () => undefined,
    refusal: () => null,
  });
  keeper.promote(1);
  for (let id = 1; id <= leases; id++) {
    lessor.grant({ id: BigInt(id), ttlSeconds: 1, remainingSeconds: 0 });
  }
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      clock.advance(TICK_MS);
      keeper.tick();
      await Promise.resolve();
      await Promise.resolve();
    }
  };
  return { lessor, batches, pass };
}

test('leases that are over at once expire a thousand a second', async () => {
  const { lessor, batches, pass } = keeperOf(3_500);
  await pass(1_000);
  expect(lessor.size).toBe(3_500);
  await pass(1_000);
  expect(lessor.size).toBe(2_500);
  await pass(1_000);
  expect(lessor.size).toBe(1_500);
  await pass(2_000);
  expect(lessor.size).toBe(0);
  expect(batches).toEqual(Array.from({ length: 14 }, () => 250));
});
