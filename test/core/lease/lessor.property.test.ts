import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lessor } from '../../../src/core/lease/lessor.ts';
import { bytes } from '../mvcc/fixture.ts';

/** The same rules without heap, index or laziness: looks at everything at every step. */
class Model {
  readonly leases = new Map<
    bigint,
    { ttlMs: number; remainingMs: number; expiryMs: number; expiring: boolean }
  >();
  readonly leaseOfKey = new Map<string, bigint>();
  promoted = false;

  startFresh(nowMs: number): void {
    if (!this.promoted) return;
    for (const lease of this.leases.values()) {
      if (lease.expiryMs === Infinity) lease.expiryMs = nowMs + (lease.remainingMs || lease.ttlMs);
    }
  }

  demote(): void {
    this.promoted = false;
    for (const lease of this.leases.values()) Object.assign(lease, { expiryMs: Infinity, expiring: false });
  }

  due(nowMs: number): bigint[] {
    return [...this.leases].filter(([, l]) => !l.expiring && l.expiryMs <= nowMs).map(([id]) => id);
  }

  keys(id: bigint): Buffer[] {
    const keys = [...this.leaseOfKey].filter(([, lease]) => lease === id).map(([key]) => bytes(key));
    return keys.sort((a, b) => a.compare(b));
  }
}

type Step =
  | { readonly do: 'grant'; readonly id: bigint; readonly ttlSeconds: number }
  | { readonly do: 'revoke' | 'renew' | 'remaining' | 'mark' | 'clear'; readonly id: bigint }
  | { readonly do: 'attach'; readonly id: bigint; readonly key: string }
  | { readonly do: 'detach'; readonly key: string }
  | { readonly do: 'checkpoint'; readonly id: bigint; readonly seconds: number }
  | { readonly do: 'promote' | 'demote' }
  | { readonly do: 'expired'; readonly max: number };

const id = fc.constantFrom(-3n, -1n, 1n, 2n, 5n);
const key = fc.constantFrom('a', 'b', '\xff', '\x00', 'ab');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('grant' as const),
      id,
      ttlSeconds: fc.integer({ min: 1, max: 20 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('revoke', 'renew', 'renew', 'remaining', 'mark', 'clear'),
      id,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('attach' as const), id, key }) },
  fc.record({ do: fc.constant('detach' as const), key }),
  fc.record({ do: fc.constant('checkpoint' as const), id, seconds: fc.nat({ max: 20 }) }),
  fc.record({ do: fc.constantFrom('promote', 'promote', 'demote') }),
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('expired' as const), max: fc.integer({ min: 1, max: 4 }) }),
  },
);

test('the lessor does what looking at every lease would do', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.nat({ max: 4_000 })), { maxLength: 60, size: 'max' }), (steps) => {
      const lessor = new Lessor();
      const model = new Model();
      let nowMs = 0;
      for (const [each, elapsedMs] of steps) {
        nowMs += elapsedMs;
        take(each, { lessor, model, nowMs });
        check(lessor, model);
      }
    }),
    { numRuns: 300 },
  );
});

function check(lessor: Lessor, model: Model): void {
  expect(lessor.size).toBe(model.leases.size);
  for (const leaseId of model.leases.keys()) expect(lessor.keys(leaseId)).toEqual(model.keys(leaseId));
}

function take(each: Step, { lessor, model, nowMs }: { lessor: Lessor; model: Model; nowMs: number }): void {
  const lease = 'id' in each ? model.leases.get(each.id) : undefined;
  switch (each.do) {
    case 'grant':
      if (lease !== undefined) return;
      lessor.grant({ id: each.id, ttlSeconds: each.ttlSeconds, remainingSeconds: 0, grantedAt: 0 });
      model.leases.set(each.id, {
        ttlMs: each.ttlSeconds * 1_000,
        remainingMs: 0,
        expiryMs: Infinity,
        expiring: false,
      });
      return;
    case 'revoke':
      if (lease === undefined) return;
      expect(lessor.revoke(each.id)).toEqual(model.keys(each.id));
      model.leases.delete(each.id);
      for (const [k, owner] of model.leaseOfKey) if (owner === each.id) model.leaseOfKey.delete(k);
      return;
    case 'renew': {
      model.startFresh(nowMs);
      const alive = model.promoted && lease !== undefined && !lease.expiring;
      expect(lessor.renew(each.id, nowMs)).toBe(alive ? lease.ttlMs / 1_000 : 0);
      if (alive) lease.expiryMs = Math.max(lease.expiryMs, nowMs + lease.ttlMs);
      return;
    }
    case 'remaining': {
      model.startFresh(nowMs);
      const left = lease === undefined ? 0 : Math.max(0, Math.floor((lease.expiryMs - nowMs) / 1_000));
      expect(lessor.remaining(each.id, nowMs)).toBe(model.promoted && lease !== undefined ? left : -1);
      return;
    }
    case 'mark':
      model.startFresh(nowMs);
      lessor.expired(nowMs, 1);
      lessor.markExpiring([each.id]);
      if (model.promoted && lease !== undefined) lease.expiring = true;
      return;
    case 'clear':
      lessor.clearExpiring([each.id]);
      if (lease !== undefined) lease.expiring = false;
      return;
    case 'attach':
      if (lease === undefined) return;
      lessor.attach(each.id, bytes(each.key));
      model.leaseOfKey.set(each.key, each.id);
      return;
    case 'detach':
      lessor.detach(bytes(each.key));
      model.leaseOfKey.delete(each.key);
      return;
    case 'checkpoint':
      lessor.checkpoint({ id: each.id, remainingSeconds: each.seconds });
      if (lease !== undefined) lease.remainingMs = Math.min(each.seconds * 1_000, lease.ttlMs);
      return;
    case 'promote':
      lessor.promote(nowMs, 500);
      model.demote();
      model.promoted = true;
      promoteModel(model, nowMs + 500);
      return;
    case 'demote':
      lessor.demote();
      model.demote();
      return;
    case 'expired': {
      model.startFresh(nowMs);
      const due = model.due(nowMs);
      const expired = lessor.expired(nowMs, each.max);
      expect(expired).toHaveLength(Math.min(each.max, due.length));
      expect(due).toEqual(expect.arrayContaining([...expired]));
      return;
    }
  }
}

/** Spreads as documented: a lease not before the one that ends sooner plus a 750th of a second. */
function promoteModel(model: Model, fromMs: number): void {
  const leases = [...model.leases].sort(
    ([a, x], [b, y]) => (x.remainingMs || x.ttlMs) - (y.remainingMs || y.ttlMs) || (a < b ? -1 : 1),
  );
  let earliestMs = 0;
  for (const [, lease] of leases) {
    lease.expiryMs = Math.max(fromMs + (lease.remainingMs || lease.ttlMs), earliestMs);
    earliestMs = lease.expiryMs + 1_000 / 750;
  }
}
