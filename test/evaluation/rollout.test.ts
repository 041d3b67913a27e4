import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileFlags, type FlagSet } from '../../src/evaluation/flag-set.ts';
import { WHOLE } from '../../src/evaluation/model.ts';
import { ask, flagOf, NEW_YEAR_MS } from './fixture.ts';

const HOUR_MS = 3_600_000;
const KEYS = 1_000_000;

/** A flag whose only rule lets a share in. */
function rolled(rollout: object, key = 'flag'): FlagSet {
  return compileFlags([flagOf({ key, rules: [{ rollout, serve: { variant: 'on' } }] })]);
}

function isIn(flags: FlagSet, targetingKey: string, nowMs = NEW_YEAR_MS): boolean {
  return ask(flags, 'flag', { targetingKey }, nowMs).startsWith('on');
}

describe('a rollout', () => {
  test('is sticky: whoever is in at one share is in at every larger one', () => {
    const share = fc.integer({ min: 0, max: WHOLE });
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), share, share, (key, one, other) => {
        const [smaller, larger] = [Math.min(one, other), Math.max(one, other)];
        if (isIn(rolled({ share: smaller }), key)) expect(isIn(rolled({ share: larger }), key)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('lets in as many as its share says, within what chance allows', () => {
    for (const share of [1, 100, 3_333, 9_999]) {
      const flags = rolled({ share });
      let count = 0;
      for (let at = 0; at < KEYS / 4; at += 1) if (isIn(flags, `user-${at}`)) count += 1;
      expect(Math.abs(count - expected(KEYS / 4, share / WHOLE))).toBeLessThan(
        bound(KEYS / 4, share / WHOLE),
      );
    }
  });

  test('of nobody or everybody needs no targeting key', () => {
    expect(ask(rolled({ share: 0 }), 'flag', {})).toBe('off DEFAULT');
    expect(ask(rolled({ share: WHOLE }), 'flag', {})).toBe('on TARGETING_MATCH');
    expect(ask(rolled({ share: 1 }), 'flag', {})).toBe('TARGETING_KEY_MISSING');
  });

  test('whom it lets in is by bucket; the others go on to the next rule', () => {
    const rules = [
      { rollout: { share: 5_000 }, serve: { variant: 'on' } },
      { when: [{ attribute: 'vip', operator: 'EQUALS', values: [true] }], serve: { variant: 'on' } },
    ];
    const flags = compileFlags([flagOf({ rules })]);
    const answers = new Set(
      Array.from({ length: 50 }, (_, at) => ask(flags, 'flag', { targetingKey: `u${at}`, vip: true })),
    );
    expect(answers).toEqual(new Set(['on SPLIT', 'on TARGETING_MATCH']));
  });

  test('of one seed has the same people in, of another seed others', () => {
    const flags = compileFlags(
      [
        ['a', 'spring'],
        ['b', 'spring'],
        ['c', null],
        ['d', 'c'],
      ].map(([key, seed]) =>
        flagOf({ key, rules: [{ rollout: { share: 5_000, seed }, serve: { variant: 'on' } }] }),
      ),
    );
    const whoIsIn = (key: string): string =>
      Array.from({ length: 200 }, (_, at) => ask(flags, key, { targetingKey: `u${at}` })).join();
    expect(whoIsIn('b')).toBe(whoIsIn('a'));
    expect(whoIsIn('c')).not.toBe(whoIsIn('a'));
    // The seed that is not given is the flag's key.
    expect(whoIsIn('d')).toBe(whoIsIn('c'));
  });

  test('by another attribute takes its value for the bucket, whatever the targeting key', () => {
    const flags = rolled({ share: 5_000, bucketBy: 'company' });
    for (let company = 0; company < 50; company += 1) {
      const [one, other] = ['a', 'b'].map((targetingKey) => ask(flags, 'flag', { targetingKey, company }));
      expect(one).toBe(other);
      expect(ask(flags, 'flag', { company: String(company) })).toBe(one);
    }
  });

  test('by an attribute that is absent lets nobody in', () => {
    expect(ask(rolled({ share: 9_999, bucketBy: 'company' }), 'flag', { targetingKey: 'a' })).toBe(
      'off DEFAULT',
    );
  });
});

describe('a split', () => {
  const variants = { a: 'a', b: 'b', c: 'c' };
  const weights = [
    { variant: 'a', weight: 1_234 },
    { variant: 'b', weight: 0 },
    { variant: 'c', weight: 8_766 },
  ];
  const fields = { type: 'string', variants, offVariant: 'a' };

  test('of 1,000,000 keys is within what chance allows of its weights', () => {
    const flags = compileFlags([flagOf({ ...fields, fallthrough: { split: { weights } } })]);
    const counts = new Map<unknown, number>();
    for (let at = 0; at < KEYS; at += 1) {
      const { value } = flags.evaluate('flag', { targetingKey: `user-${at}` }, { nowMs: 0 });
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    expect(counts.get('b')).toBe(undefined);
    for (const { variant, weight } of weights.filter((part) => part.weight > 0)) {
      const share = weight / WHOLE;
      expect(Math.abs(counts.get(variant)! - expected(KEYS, share))).toBeLessThan(bound(KEYS, share));
    }
  });

  test('always gives the same person the same variant', () => {
    const make = (): FlagSet => compileFlags([flagOf({ ...fields, fallthrough: { split: { weights } } })]);
    const [one, other] = [make(), make()];
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (targetingKey) => {
        expect(ask(one, 'flag', { targetingKey, noise: 1 })).toBe(ask(other, 'flag', { targetingKey }));
      }),
    );
  });

  test("with weights of another total is flagd's", () => {
    const suits = ['clubs', 'diamonds', 'hearts', 'spades'];
    const split = { weights: suits.map((variant) => ({ variant, weight: 1 })), total: 4, bucketBy: 'name' };
    const flag = flagOf({
      key: 'fractional-flag',
      type: 'string',
      variants: Object.fromEntries(suits.map((suit) => [suit, suit])),
      offVariant: null,
      fallthrough: { split },
    });
    const flags = compileFlags([flag]);
    const names = ['jack', 'queen', 'ten', 'nine', '3'];
    expect(names.map((name) => flags.evaluate('fractional-flag', { name }, { nowMs: 0 }).value)).toEqual([
      'hearts',
      'spades',
      'clubs',
      'diamonds',
      'clubs',
    ]);
  });

  test('by an attribute that is absent answers the off variant: DEFAULT; a rule goes on to the next', () => {
    const split = { split: { weights, bucketBy: 'company' } };
    const ofAll = compileFlags([flagOf({ ...fields, fallthrough: split })]);
    expect(ask(ofAll, 'flag', { targetingKey: 'x' })).toBe('a DEFAULT');
    const ofRule = compileFlags([
      flagOf({ ...fields, rules: [{ serve: split }], fallthrough: { variant: 'c' } }),
    ]);
    expect(ask(ofRule, 'flag', { targetingKey: 'x' })).toBe('c DEFAULT');
  });

  test('behind a rollout is not decided by it', () => {
    const rule = { rollout: { share: 2_000 }, serve: { split: { weights: halves(), seed: 'arms' } } };
    const flags = compileFlags([
      flagOf({
        rules: [rule],
        variants: { on: true, off: false, none: false },
        fallthrough: { variant: 'none' },
      }),
    ]);
    const counts = { on: 0, off: 0, none: 0 };
    for (let at = 0; at < 20_000; at += 1) {
      const { variant } = flags.evaluate('flag', { targetingKey: `u${at}` }, { nowMs: 0 });
      counts[variant as keyof typeof counts] += 1;
    }
    expect(Math.abs(counts.on - 2_000)).toBeLessThan(bound(20_000, 0.1));
    expect(Math.abs(counts.off - 2_000)).toBeLessThan(bound(20_000, 0.1));
  });
});

describe('a ramp', () => {
  const at = (hours: number): string => new Date(NEW_YEAR_MS + hours * HOUR_MS).toISOString();
  const points = [
    { at: at(0), share: 0 },
    { at: at(10), share: 1_000 },
    { at: at(20), share: WHOLE },
  ];

  test('by steps holds each share until the next', () => {
    const flags = rolled({ share: 0, ramp: { kind: 'steps', points } });
    expect(share(flags, -1)).toBe(0);
    expect(share(flags, 9.999)).toBe(0);
    expect(share(flags, 10)).toBe(share(rolled({ share: 1_000 }), 0));
    expect(share(flags, 19.999)).toBe(share(flags, 10));
    expect(share(flags, 20)).toBe(SAMPLE);
  });

  test('that is linear goes evenly from point to point', () => {
    const flags = rolled({ share: 0, ramp: { kind: 'linear', points } });
    expect(share(flags, 5)).toBe(share(rolled({ share: 500 }), 0));
    expect(share(flags, 15)).toBe(share(rolled({ share: 5_500 }), 0));
    expect(share(flags, 99)).toBe(SAMPLE);
  });

  test('that rises never drops anybody', () => {
    const flags = rolled({ share: 0, ramp: { kind: 'linear', points } });
    const hours = fc.double({ min: -1, max: 21, noNaN: true });
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), hours, hours, (key, one, other) => {
        const [earlier, later] = [Math.min(one, other), Math.max(one, other)].map(
          (h) => NEW_YEAR_MS + h * HOUR_MS,
        );
        if (isIn(flags, key, earlier!)) expect(isIn(flags, key, later!)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('may fall', () => {
    const falling = [
      { at: at(0), share: 5_000 },
      { at: at(10), share: 0 },
    ];
    const flags = rolled({ share: 5_000, ramp: { kind: 'linear', points: falling } });
    expect(share(flags, 5)).toBe(share(rolled({ share: 2_500 }), 0));
    expect(share(flags, 10)).toBe(0);
  });

  test.each(['steps', 'linear'] as const)(
    'of %s: nothing changes before the next change, and then something does',
    (kind) => {
      const flag = { rules: [{ rollout: { share: 0, ramp: { kind, points } }, serve: { variant: 'on' } }] };
      const flags = compileFlags([flagOf(flag)]);
      let nowMs: number | null = NEW_YEAR_MS;
      let changes = 0;
      for (; nowMs !== null; changes += 1) {
        const nextMs = flags.nextChangeMs(nowMs);
        if (nextMs === null) break;
        expect(bucketsIn(flags, nextMs - 1)).toBe(bucketsIn(flags, nowMs));
        nowMs = nextMs;
        if (changes > 12_000) throw new Error('too many changes');
      }
      // Each hundredth of a percent of a linear ramp is one.
      expect(changes).toBeGreaterThanOrEqual(kind === 'steps' ? 2 : WHOLE);
      expect(changes).toBeLessThanOrEqual(kind === 'steps' ? 2 : WHOLE + 2);
    },
  );

  /** How many of some people are in. */
  function share(flags: FlagSet, hours: number): number {
    return people.filter((key) => isIn(flags, key, NEW_YEAR_MS + hours * HOUR_MS)).length;
  }

  function bucketsIn(flags: FlagSet, nowMs: number): string {
    return people
      .slice(0, 10)
      .filter((key) => isIn(flags, key, nowMs))
      .join();
  }
});

const SAMPLE = 2_000;
const people = Array.from({ length: SAMPLE }, (_, at) => `person-${at}`);

function halves(): readonly object[] {
  return ['on', 'off'].map((variant) => ({ variant, weight: WHOLE / 2 }));
}

function expected(count: number, share: number): number {
  return count * share;
}

/** Five standard deviations: the keys are fixed, so that it fails always or never. */
function bound(count: number, share: number): number {
  return 5 * Math.sqrt(count * share * (1 - share));
}
