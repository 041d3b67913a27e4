import { expect, test } from 'vitest';
import type { Operation } from '../../src/core/command.ts';
import { Lessor } from '../../src/core/lease/lessor.ts';
import type { Applied } from '../../src/core/state-machine.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { LeaseKeeper } from '../../src/member/lease-keeper.ts';
import { ManualClock } from './manual-clock.ts';

const TICK_MS = 50;

/** A leader whose proposals are applied at once, unless `hold` has them time out first. */
function keeperOf(leases: number) {
  let held: Operation[] | null = null;
  const clock = new ManualClock();
  const lessor = new Lessor();
  const batches: number[] = [];
  const propose = async (operation: Operation): Promise<Applied> => {
    if (held !== null) {
      held.push(operation);
      throw new StoreError('timeout');
    }
    return apply(operation);
  };
  const apply = (operation: Operation): Applied => {
    if (operation.type === 'lease-expire') {
      batches.push(operation.ids.length);
      for (const id of operation.ids) if (lessor.has(id)) lessor.revoke(id);
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
    lessor.grant({ id: BigInt(id), ttlSeconds: 1, remainingSeconds: 0, grantedAt: 0 });
  }
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      clock.advance(TICK_MS);
      keeper.tick();
      await Promise.resolve();
      await Promise.resolve();
    }
  };
  const hold = (): void => {
    held = [];
  };
  /** What had timed out is applied after all, as by a quorum that came back. */
  const release = (): void => {
    for (const operation of held ?? []) apply(operation);
    held = null;
  };
  return { keeper, lessor, batches, pass, hold, release };
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

const ALICE = { id: 1n, user: 'alice', authRevision: 1 };

test('no keep-alive is acknowledged while an expiry that timed out may still be applied', async () => {
  const { keeper, lessor, pass, hold, release } = keeperOf(1);
  hold();
  await pass(1_500);
  let acknowledged: number | null = null;
  const renewed = keeper.renew(ALICE, new AbortController().signal).then((ttlSeconds) => {
    acknowledged = ttlSeconds;
  });
  await pass(20_000);
  expect(acknowledged).toBe(null);
  release();
  await pass(500);
  await renewed;
  expect(acknowledged).toBe(0);
  expect(lessor.size).toBe(0);
});

test('who waits for an expiry may give up, and hears of the end of the term', async () => {
  const { keeper, pass, hold } = keeperOf(1);
  hold();
  await pass(1_500);
  const abort = new AbortController();
  const given = keeper.renew(ALICE, abort.signal);
  const waiting = keeper.renew(ALICE, new AbortController().signal);
  await pass(100);
  abort.abort(new StoreError('canceled'));
  await expect(given).rejects.toMatchObject({ code: 'canceled' });
  const refused = expect(waiting).rejects.toMatchObject({ code: 'not-leader' });
  keeper.demote();
  await pass(500);
  await refused;
});
