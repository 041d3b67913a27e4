import { setTimeout as pause } from 'node:timers/promises';
import { FlagdCore } from '@openfeature/flagd-core';
import type { EvaluationContext } from '../../src/evaluation/evaluation.ts';
import { compileFlags, type FlagSet } from '../../src/evaluation/flag-set.ts';
import { exportFlagd } from '../../src/evaluation/flagd.ts';
import type { FlagDefinition, Segment } from '../../src/evaluation/model.ts';
import { type Validated, validateFlag, validateSegment } from '../../src/evaluation/validate.ts';
import { type Chance, wholeBelow } from '../chance.ts';
import type { Figure, Question } from '../question.ts';

const FLAGS_OF_A_KIND = 200;
const PEOPLE = 1_000;
const EVALUATIONS = 2_000_000;
const WARM_UP_EVALUATIONS = 200_000;
/** Evaluated without a pause, then comes the other's turn. */
const SLICE = 20_000;
const PAUSE_MS = 1;
const NOW_MS = 1_767_225_600_000;
const OPTIONS = { nowMs: NOW_MS, type: 'string' } as const;
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** The kinds of flags, as people write them, but for key, type and variants. */
const KINDS: { readonly [name: string]: (at: number) => object } = {
  'without targeting': () => ({}),
  'two conditions': (at) => ({
    rules: [
      {
        when: [
          { attribute: 'country', operator: 'IN', values: ['DE', 'AT', `X${at}`] },
          { attribute: 'email', operator: 'ENDS_WITH', values: ['@example.com'] },
        ],
        serve: { variant: 'on' },
      },
    ],
  }),
  'a split of three': () => ({
    fallthrough: {
      split: {
        weights: [
          { variant: 'on', weight: 2_500 },
          { variant: 'off', weight: 2_500 },
          { variant: 'other', weight: 5_000 },
        ],
      },
    },
  }),
  'a rollout to a segment': (at) => ({
    rules: [{ when: [{ segment: 'adults' }], rollout: { share: 100 + at * 40 }, serve: { variant: 'on' } }],
  }),
  'a version': (at) => ({
    rules: [
      {
        when: [{ attribute: 'version', operator: 'SEMVER_GREATER_OR_EQUAL', values: [`2.${at}.0`] }],
        serve: { variant: 'on' },
      },
    ],
  }),
};
const ADULTS = {
  key: 'adults',
  excluded: ['person-7'],
  when: [{ attribute: 'age', operator: 'GREATER_OR_EQUAL', values: [18] }],
};

/** How many evaluations one core does, beside flagd's own evaluation of the same flags. */
export const EVALUATION: Question = {
  name: 'flag evaluation',
  load: `${EVALUATIONS} evaluations of each kind by one thread, ${FLAGS_OF_A_KIND} flags of the kind for ${PEOPLE} people in turn, after ${WARM_UP_EVALUATIONS}; by turns with npm @openfeature/flagd-core on the export of the same flags, whose answers are compared before`,
  contestants: ['conclave'],
  measure: async ({ chance, count }) => {
    const segment = valueOf(validateSegment(ADULTS));
    const kinds = Object.entries(KINDS).map(([name, make]) => ({ name, flags: flagsOf(name, make) }));
    const people = peopleOf(chance);
    const all = { name: 'all kinds', flags: kinds.flatMap(({ flags }) => flags) };
    const figures: Figure[] = [];
    for (const { name, flags } of [...kinds, all]) {
      const load = loadOf(flags, [segment], people);
      compare(load);
      await evaluateAll(load, count(WARM_UP_EVALUATIONS));
      figures.push(...figuresOf(name, await evaluateAll(load, count(EVALUATIONS))));
    }
    return figures;
  },
};

/** The same flags of both, and in which order they are asked for whom. */
interface Load {
  readonly ours: FlagSet;
  readonly theirs: FlagdCore;
  readonly keys: readonly string[];
  readonly people: readonly EvaluationContext[];
}

function flagsOf(kind: string, make: (at: number) => object): readonly FlagDefinition[] {
  return Array.from({ length: FLAGS_OF_A_KIND }, (_, at) =>
    valueOf(
      validateFlag({
        key: `${kind.replaceAll(' ', '-')}-${at}`,
        type: 'string',
        variants: { on: 'yes', off: 'no', other: 'perhaps' },
        offVariant: 'off',
        fallthrough: { variant: 'off' },
        ...make(at),
      }),
    ),
  );
}

function peopleOf(chance: Chance): readonly EvaluationContext[] {
  const countries = ['DE', 'AT', 'FR', 'US'];
  return Array.from({ length: PEOPLE }, (_, at) => ({
    targetingKey: `person-${at}`,
    country: countries[wholeBelow(countries.length, chance)],
    email: `person.${at}@example.${chance() < 0.5 ? 'com' : 'org'}`,
    age: wholeBelow(80, chance),
    version: `${1 + wholeBelow(3, chance)}.${wholeBelow(200, chance)}.0`,
  }));
}

/** @throws Error when a flag could not be exported */
function loadOf(
  flags: readonly FlagDefinition[],
  segments: readonly Segment[],
  people: readonly EvaluationContext[],
): Load {
  const { document, findings } = exportFlagd({ flags, segments }, NOW_MS);
  if (findings.length > 0) throw new Error(`${findings[0]!.flag}: ${findings[0]!.message}`);
  const theirs = new FlagdCore(undefined, SILENT);
  theirs.setConfigurations(JSON.stringify(document));
  return { ours: compileFlags(flags, segments), theirs, keys: flags.map(({ key }) => key), people };
}

/** @throws Error when an answer is not the same */
function compare({ ours, theirs, keys, people }: Load): void {
  for (const key of keys) {
    for (const person of people.slice(0, PEOPLE / 10)) {
      const { value } = ours.evaluate(key, person, OPTIONS);
      const other = theirs.resolveStringEvaluation(key, 'none', person as never).value;
      if (value !== other) throw new Error(`${key}: ${JSON.stringify(value)}, of flagd ${other}`);
    }
  }
}

async function evaluateAll(
  load: Load,
  evaluations: number,
): Promise<{ readonly oursMs: number; readonly theirsMs: number; readonly done: number }> {
  let [oursMs, theirsMs, done] = [0, 0, 0];
  for (; done < evaluations; done += SLICE) {
    theirsMs += evaluateTheirs(load);
    oursMs += evaluateOurs(load);
    await pause(PAUSE_MS);
  }
  return { oursMs, theirsMs, done };
}

// Two functions, so that each is compiled for what it evaluates.

function evaluateOurs({ ours, keys, people }: Load): number {
  const startedMs = performance.now();
  let answered = 0;
  for (let at = 0; at < SLICE; at += 1) {
    const { value } = ours.evaluate(keys[at % keys.length]!, people[at % PEOPLE]!, OPTIONS);
    if (value !== undefined) answered += 1;
  }
  return elapsed(startedMs, answered);
}

function evaluateTheirs({ theirs, keys, people }: Load): number {
  const startedMs = performance.now();
  let answered = 0;
  for (let at = 0; at < SLICE; at += 1) {
    const person = people[at % PEOPLE]! as never;
    const { value } = theirs.resolveStringEvaluation(keys[at % keys.length]!, 'none', person);
    if (value !== 'none') answered += 1;
  }
  return elapsed(startedMs, answered);
}

function elapsed(startedMs: number, answered: number): number {
  const ms = performance.now() - startedMs;
  if (answered !== SLICE) throw new Error(`${answered} of ${SLICE} evaluations had a value`);
  return ms;
}

function figuresOf(
  name: string,
  { oursMs, theirsMs, done }: { readonly oursMs: number; readonly theirsMs: number; readonly done: number },
): readonly Figure[] {
  return [
    { name: `${name}: evaluations`, unit: 'req/s', value: done / (oursMs / 1000) },
    { name: `${name}: flagd-core's`, unit: 'req/s', value: done / (theirsMs / 1000) },
    { name: `${name}: times flagd-core's`, unit: 'times', value: theirsMs / oursMs },
  ];
}

/** @throws Error when it was written wrong */
function valueOf<Thing>(validated: Validated<Thing>): Thing {
  if (validated.ok) return validated.value;
  throw new Error(validated.findings.map(({ field, message }) => `${field} ${message}`).join('; '));
}
