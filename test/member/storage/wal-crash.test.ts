import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LogAction, LogModel } from './log-model.ts';

const appends: fc.Arbitrary<LogAction> = fc.record({
  type: fc.constant('append'),
  back: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(5) }),
  sizes: fc.array(
    fc.oneof(
      { weight: 9, arbitrary: fc.nat(700) },
      { weight: 1, arbitrary: fc.integer({ min: 3000, max: 9000 }) },
    ),
    { maxLength: 4 },
  ),
  hardState: fc.constantFrom('none', 'none', 'commit', 'term'),
  sync: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.boolean() }),
});
const actions: fc.Arbitrary<LogAction> = fc.oneof(
  { weight: 12, arbitrary: appends },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('snapshot'),
      ahead: fc.integer({ min: 0, max: 9 }),
      follow: fc.nat(2),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('release'),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      beside: fc.option(appends, { nil: null }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'confirm-tail' }) },
);
const lives = fc.array(
  fc.record({
    actions: fc.array(actions, { maxLength: 25 }),
    crashAfter: fc.integer({ min: 1, max: 120 }),
    seed: fc.integer(),
    kill: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.boolean() }),
    // Now and then a stop without a crash.
    close: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.boolean() }),
  }),
  { minLength: 1, maxLength: 5 },
);

test('recovery yields every acknowledged record, and of the others a prefix of what was written', async () => {
  let tornTails = 0;
  await fc.assert(
    fc.asyncProperty(lives, async (rounds) => {
      const model = new LogModel();
      for (const { actions: steps, crashAfter, seed, kill, close } of rounds) {
        if (!close) model.crashAfter(crashAfter, { seed, kill });
        await model.start();
        for (const step of steps) await model.run(step);
        if (close) await model.close();
        else model.stop({ seed, kill });
      }
      await model.start();
      await model.close();
      tornTails += model.tornTails;
    }),
    { numRuns: 300 },
  );
  expect(tornTails).toBeGreaterThan(3);
});

test('a crash at any disk operation around segment rolls and deletions loses nothing acknowledged', async () => {
  const append: LogAction = { type: 'append', back: 0, sizes: [500, 301], hardState: 'commit', sync: true };
  const unsynced: LogAction = { ...append, sizes: [], sync: false };
  const turn: LogAction[] = [append, unsynced, append, append, unsynced, append, append, append, append];
  const life: LogAction[] = [
    ...turn,
    { type: 'release', share: 0.6, beside: append },
    ...turn,
    { type: 'release', share: 1, beside: null },
  ];

  const undisturbed = new LogModel();
  await undisturbed.start();
  for (const action of life) await undisturbed.run(action);
  const operations = undisturbed.disk.operationCount;
  expect((await undisturbed.disk.list('wal')).filter((name) => name.endsWith('.wal')).length).toBeLessThan(3);
  await undisturbed.close();
  expect(operations).toBeGreaterThan(60);

  for (let crashAfter = 1; crashAfter <= operations + 1; crashAfter++) {
    for (let seed = 0; seed < 3; seed++) {
      const model = new LogModel();
      model.crashAfter(crashAfter, { seed, kill: seed === 0 });
      await model.start();
      for (const action of life) await model.run(action);
      if (model.running) model.stop({ seed, kill: false });
      await model.start();
      await model.run(append);
      await model.close();
      await model.start();
      await model.close();
    }
  }
});
