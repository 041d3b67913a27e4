import { describe, expect, test } from 'vitest';
import { Acknowledgements } from './checkers/acknowledgements.ts';
import { CacheAge } from './checkers/cache-age.ts';
import { ProgressAge } from './checkers/progress-age.ts';
import { type AgedAnswer, ReadAge } from './checkers/read-age.ts';
import { Prng } from './prng.ts';
import { SimProcess } from './process.ts';
import { Scheduler } from './scheduler.ts';
import type { Violation } from './violation.ts';

/** Revision 10 was acknowledged at 1,000, revision 20 at 2,000, and a slow answer told of 15 in between, later. */
function setUp() {
  const found: Violation[] = [];
  const acknowledgements = new Acknowledgements();
  acknowledgements.acknowledged(10, 1_000);
  acknowledgements.acknowledged(20, 2_000);
  acknowledgements.acknowledged(15, 2_500);
  return { found, acknowledgements, report: (violation: Violation) => void found.push(violation) };
}

test('what was acknowledged before an instant is the highest revision that was, not that at the instant itself', () => {
  const { acknowledgements } = setUp();
  expect(acknowledgements.before(1_000)).toBe(1);
  expect(acknowledgements.before(1_000.001)).toBe(10);
  expect(acknowledgements.before(2_000)).toBe(10);
  expect(acknowledgements.before(9_000)).toBe(20);
  expect(acknowledgements.whenAcknowledged(11)).toBe(2_000);
  expect(acknowledgements.whenAcknowledged(21)).toBeUndefined();
});

describe('the age of an answer', () => {
  const answer = (part: Partial<AgedAnswer>): AgedAnswer => ({
    opId: 'b0-1',
    process: 'n1.1',
    rate: 1,
    atMs: 2_100,
    revision: 10,
    ageMs: 100,
    boundMs: 500,
    isLinearizable: false,
    ...part,
  });
  const judge = (part: Partial<AgedAnswer>): readonly string[] => {
    const { found, acknowledgements, report } = setUp();
    new ReadAge(acknowledgements, report).answered(answer(part));
    return found.map(({ message }) => message);
  };

  test('may leave out what was acknowledged since, and nothing that was acknowledged before', () => {
    expect(judge({ ageMs: 100 })).toEqual([]);
    expect(judge({ ageMs: 99 })).toEqual([
      expect.stringContaining('11 had been acknowledged 100.000 ms before'),
    ]);
    expect(judge({ ageMs: 99, revision: 20 })).toEqual([]);
    expect(judge({ ageMs: 99, revision: 19 })).toHaveLength(1);
  });

  test('is one by the clock of who answers: a fast one counts more, a slow one less', () => {
    expect(judge({ ageMs: 101, rate: 1.01 })).toEqual([]);
    expect(judge({ ageMs: 100, rate: 1.01 })).toHaveLength(1);
    expect(judge({ ageMs: 99, rate: 0.99 })).toEqual([]);
  });

  test('is no more than was asked for, unless the answer is linearizable', () => {
    expect(judge({ ageMs: 501, revision: 20 })).toEqual([expect.stringContaining('at most 500')]);
    expect(judge({ ageMs: 501, revision: 20, isLinearizable: true })).toEqual([]);
  });

  test('is a whole number that is told', () => {
    expect(judge({ ageMs: Number.NaN, revision: 20 })).toEqual([expect.stringContaining('which is none')]);
    expect(judge({ ageMs: Number.POSITIVE_INFINITY, revision: 20 })).toHaveLength(1);
    expect(judge({ ageMs: 0.5, revision: 20 })).toHaveLength(1);
  });

  test('stale answers are counted: without one nothing was tried', () => {
    const { acknowledgements, report } = setUp();
    const ages = new ReadAge(acknowledgements, report);
    ages.answered(answer({}));
    ages.answered(answer({ revision: 20 }));
    expect([ages.judgedCount, ages.staleCount]).toEqual([2, 1]);
  });
});

describe('the age of progress', () => {
  const told = {
    process: { name: 'n1.1', rate: 1 },
    revision: 10,
    ageMs: 100,
    atMs: 2_100,
    provenMs: undefined,
  };
  const judge = (part: Partial<Parameters<ProgressAge['told']>[0]>): readonly string[] => {
    const { found, acknowledgements, report } = setUp();
    new ProgressAge(acknowledgements, report).told({ ...told, ...part });
    return found.map(({ message }) => message);
  };

  test('covers everything that was acknowledged before', () => {
    expect(judge({})).toEqual([]);
    expect(judge({ ageMs: 99 })).toEqual([expect.stringContaining('20 had been acknowledged')]);
    expect(judge({ ageMs: -1 })).toEqual([expect.stringContaining('which is none')]);
  });

  test('covers everything from before the request where that was asked for', () => {
    expect(judge({ provenMs: 1_999 })).toEqual([]);
    expect(judge({ provenMs: 2_001 })).toEqual([expect.stringContaining('asked for at 2001')]);
  });
});

describe('a cache with a fresh lease of 500 ms', () => {
  const hold = () => {
    const { found, acknowledgements, report } = setUp();
    const known = { revision: 1 };
    const isComplete = (revision: number): boolean => revision <= known.revision;
    const age = new CacheAge({ name: 'f0', boundMs: 500, isComplete }, acknowledgements, report);
    return { found, known, age };
  };

  test('need not know what was acknowledged up to 500 ms before', () => {
    const { found, age } = hold();
    age.renewed(900, 1_500);
    age.look(1_499);
    age.look(5_000);
    expect(found).toEqual([]);
    expect([age.heldMs, age.lapseCount]).toEqual([600, 1]);
  });

  test('knows what was acknowledged longer ago, for as long as the lease holds', () => {
    const { found, known, age } = hold();
    age.renewed(900, 1_600);
    known.revision = 9;
    age.look(1_550);
    expect(found).toEqual([expect.objectContaining({ message: expect.stringContaining('up to 10') })]);
  });

  test('is judged up to the end of a lease that ended between two looks, and not beyond it', () => {
    const late = hold();
    late.age.renewed(900, 1_501);
    late.age.look(9_000);
    expect(late.found).toHaveLength(1);
    const inTime = hold();
    inTime.age.renewed(900, 1_501);
    inTime.age.look(1_450);
    inTime.known.revision = 10;
    inTime.age.look(9_000);
    expect(inTime.found).toEqual([]);
    expect(inTime.age.judgedCount).toBe(1);
  });

  test('claims nothing any more when it has lost what it knew', () => {
    const { found, age } = hold();
    age.renewed(900, 9_000);
    age.lost(1_400);
    age.look(8_000);
    expect(found).toEqual([]);
    expect(age.heldMs).toBe(500);
  });
});

describe('the clocks of a process', () => {
  const passed = async (kind: 'stopped' | 'suspended' | 'frozen') => {
    const scheduler = new Scheduler(new Prng(1));
    const process = new SimProcess({
      name: 'n1.1',
      number: 1,
      scheduler,
      random: new Prng(2),
      rate: 1,
      timerLagMsMax: 0,
      uncaught: () => {},
    });
    const { clock } = process;
    const before = { nowMs: clock.nowMs(), uptimeMs: clock.uptimeMs() };
    process.pause();
    await scheduler.run(1_000);
    process.resume(kind);
    return { nowMs: clock.nowMs() - before.nowMs, uptimeMs: clock.uptimeMs() - before.uptimeMs };
  };

  test('both go on while it is stopped, the uptime while its machine sleeps, neither while that is frozen', async () => {
    expect(await passed('stopped')).toEqual({ nowMs: 1_000, uptimeMs: 1_000 });
    expect(await passed('suspended')).toEqual({ nowMs: 0, uptimeMs: 1_000 });
    expect(await passed('frozen')).toEqual({ nowMs: 0, uptimeMs: 0 });
  });
});
