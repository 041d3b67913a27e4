import type { QuestionSummary } from './records.ts';
import { median } from './statistics.ts';

/** What a figure of ours is meant to be, against etcd's in the same run or by itself. */
export interface Goal {
  readonly what: string;
  readonly question: string;
  readonly figure: string;
  readonly is: 'at least' | 'at most';
  readonly bound: number;
  /** `times`: ours divided by etcd's, medians; the others: ours alone. */
  readonly unit: 'times' | 'ms' | 'req/s' | "times flagd-core's" | 'pages of few';
}

export interface Verdict extends Goal {
  readonly measured: number;
  readonly reached: boolean;
}

const RANGE_QUESTIONS = ['range, fresh cluster', 'range, after 400000 puts'];
const RANGE_KINDS = ['linearizable', 'serializable'].flatMap((kind) =>
  ['the leader', 'a follower'].map((place) => `${kind}, ${place}`),
);
const FAN_OUTS = [1_000, 10_000].flatMap((watches) =>
  ['10 shared streams', 'own streams'].map((streams) => `watch fan-out, ${watches} watches on ${streams}`),
);
const MANY_KEYS = '100000 keys of 1 KiB';
const RESTARTS = ['one member, from start to its first answer', 'all members, from start to the first write'];
const MANY_CONFIGURATIONS = '100000 configurations in 10 environments';
const LOOKS_BACK = ['first page', 'oldest page', 'one version', 'at a revision', 'difference'];
const STALLS = ['compaction', 'snapshot', 'defragmentation'];

/** What the project means to be, compared with etcd on the same machine. */
export const GOALS: readonly Goal[] = [
  ratio({
    what: 'puts',
    question: 'put at the leader, full load',
    figure: 'calls',
    is: 'at least',
    bound: 3,
  }),
  ...RANGE_QUESTIONS.flatMap((question) =>
    RANGE_KINDS.map((kind) =>
      ratio({
        what: `${question.replace('range, ', 'ranges, ')}, ${kind}`,
        question,
        figure: `${kind}: calls`,
        is: 'at least',
        bound: 3,
      }),
    ),
  ),
  ratio({
    what: 'put p99 at equal load',
    question: 'put at the leader, equal load',
    figure: 'p99',
    is: 'at most',
    bound: 0.7,
  }),
  ...FAN_OUTS.map((question) =>
    ratio({ what: `${question}, p99`, question, figure: 'p99', is: 'at most', bound: 0.5 }),
  ),
  ratio({
    what: 'memory with 100,000 keys',
    question: MANY_KEYS,
    figure: 'members, memory',
    is: 'at most',
    bound: 1,
  }),
  ...RESTARTS.map((figure) =>
    ratio({
      what: `restart with 100,000 keys, ${figure.split(',')[0]}`,
      question: MANY_KEYS,
      figure,
      is: 'at most',
      bound: 0.5,
    }),
  ),
  ratio({
    what: 'strong reads of configurations over REST, etcd behind a gateway',
    question: 'configuration reads over REST',
    figure: 'strong: calls',
    is: 'at least',
    bound: 1,
  }),
  ratio({
    what: 'writes of configurations over REST, etcd behind a gateway',
    question: 'configuration writes over REST',
    figure: 'calls',
    is: 'at least',
    bound: 1,
  }),
  {
    what: 'validation of a configuration, p99',
    question: 'validation of a configuration',
    figure: 'p99',
    is: 'at most',
    bound: 100,
    unit: 'ms',
  },
  ...LOOKS_BACK.map(
    (figure): Goal => ({
      what: `history of 1000 versions, ${figure}, p99`,
      question: 'history of 1000 versions',
      figure: `${figure}: p99`,
      is: 'at most',
      bound: 200,
      unit: 'ms',
    }),
  ),
  ...['first', 'last'].map(
    (page): Goal => ({
      what: `${page} page of 100,000 configurations`,
      question: MANY_CONFIGURATIONS,
      figure: `${page} page, in pages of few`,
      is: 'at most',
      bound: 2,
      unit: 'pages of few',
    }),
  ),
  {
    what: 'flag evaluations on one core',
    question: 'flag evaluation',
    figure: 'all kinds: evaluations',
    is: 'at least',
    bound: 1_000_000,
    unit: 'req/s',
  },
  {
    what: 'flag evaluations',
    question: 'flag evaluation',
    figure: "all kinds: times flagd-core's",
    is: 'at least',
    bound: 5,
    unit: "times flagd-core's",
  },
  ...STALLS.map(
    (name): Goal => ({
      what: `longest write stall, ${name}`,
      question: 'longest write stall during maintenance',
      figure: `${name}: longest put`,
      is: 'at most',
      bound: 50,
      unit: 'ms',
    }),
  ),
];

/** The goals of the questions that were asked of both, or of us where that is enough. */
export function judge(
  summaries: readonly QuestionSummary[],
  goals: readonly Goal[] = GOALS,
): readonly Verdict[] {
  return goals.flatMap((goal) => {
    const summary = summaries.find(({ question }) => question === goal.question);
    const figure = summary?.figures.find(({ name }) => name === goal.figure);
    if (figure === undefined || figure.conclave.length === 0) return [];
    if (goal.unit === 'times' && figure.etcd.length === 0) return [];
    const ours = median(figure.conclave);
    const measured = goal.unit === 'times' ? ours / median(figure.etcd) : ours;
    const reached = goal.is === 'at least' ? measured >= goal.bound : measured <= goal.bound;
    return [{ ...goal, measured, reached }];
  });
}

function ratio(goal: Omit<Goal, 'unit'>): Goal {
  return { ...goal, unit: 'times' };
}
