import { appendFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { judge } from './goals.ts';
import { machine } from './machine.ts';
import type { Question } from './question.ts';
import { CACHED_READS } from './questions/cached-reads.ts';
import { CONFIGURATION_CALLS } from './questions/configuration-calls.ts';
import { CONFIGURATION_CHECKS } from './questions/configuration-checks.ts';
import { EVALUATION } from './questions/evaluation.ts';
import { FAILOVER } from './questions/failover.ts';
import { FLAG_QUESTIONS } from './questions/flags.ts';
import { LATENCY_CURVES } from './questions/latency-curve.ts';
import { LEASE_KEEP_ALIVE } from './questions/lease-keep-alive.ts';
import { MANY_CONFIGURATIONS } from './questions/many-configurations.ts';
import { MANY_KEYS } from './questions/many-keys.ts';
import { MIXED } from './questions/mixed.ts';
import { ONE_CLIENT } from './questions/one-client.ts';
import { PUT } from './questions/put.ts';
import { PUT_EQUAL_LOAD } from './questions/put-equal-load.ts';
import { RANGES } from './questions/range.ts';
import { TXN } from './questions/txn.ts';
import { WATCH_FAN_OUT } from './questions/watch-fan-out.ts';
import { WRITE_STALLS } from './questions/write-stalls.ts';
import { type BenchRecord, type RunRecord, recordLine, summarize } from './records.ts';
import { goalsTable, machineText, section } from './report.ts';
import type { Contestant } from './server-cluster.ts';
import { ask, CONTESTANTS, type TrialOptions } from './trials.ts';

/** `npm run bench`: Conclave and etcd, by turns, on this machine, with the same load. */

const HELP = `Measures Conclave and etcd by turns, each a fresh cluster of three on this machine.

Usage: npm run bench -- [options]

  --only TEXT        questions whose names contain it
  --contestant NAME  only conclave or only etcd: no ratios then
  --large            also the questions that want minutes and gigabytes: 1,000,000 keys
  --runs N           of each question and contestant (default 3)
  --seed N           of keys and values (default 1)
  --scale F          that share of each load: 0.01 tries everything out (default 1)
  --out FILE         also write every run as a JSON line, for 'npm run bench:document -- FILE'
  --list             the questions
  --help

etcd: ETCD_BIN, or where Debian's package etcd-server puts it. h2load: Debian's nghttp2-client.`;

const QUESTIONS: readonly Question[] = [
  PUT,
  PUT_EQUAL_LOAD,
  ONE_CLIENT,
  ...RANGES,
  CACHED_READS,
  EVALUATION,
  MIXED,
  TXN,
  ...LATENCY_CURVES,
  LEASE_KEEP_ALIVE,
  ...WATCH_FAN_OUT,
  ...MANY_KEYS,
  ...CONFIGURATION_CALLS,
  ...CONFIGURATION_CHECKS,
  MANY_CONFIGURATIONS,
  ...FLAG_QUESTIONS,
  WRITE_STALLS,
  FAILOVER,
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      contestant: { type: 'string' },
      large: { type: 'boolean', default: false },
      runs: { type: 'string', default: '3' },
      seed: { type: 'string', default: '1' },
      scale: { type: 'string', default: '1' },
      out: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const questions = QUESTIONS.filter(
    ({ name, large = false }) => name.includes(values.only) && (values.large || !large),
  );
  if (values.list) return console.log(questions.map(({ name }) => name).join('\n'));
  const run = { runs: number('--runs', values.runs), seed: number('--seed', values.seed) };
  const scale = number('--scale', values.scale);
  await bench(questions, { ...run, contestants: contestantsOf(values.contestant), scale, out: values.out });
}

async function bench(
  questions: readonly Question[],
  options: Omit<TrialOptions, 'onRecord'> & { readonly out: string | undefined },
): Promise<void> {
  const { out, seed, scale } = options;
  const records: RunRecord[] = [];
  const keep = (record: BenchRecord): void => {
    if (out !== undefined) appendFileSync(out, recordLine(record));
  };
  if (out !== undefined) writeFileSync(out, '');
  const head = machine(commandText(process.argv.slice(2)), { seed, scale });
  keep(head);
  console.log(`${machineText(head)}\n`);
  for (const question of questions) {
    const onRecord = (record: RunRecord): void => {
      records.push(record);
      keep(record);
      console.error(`${question.name}: ${record.contestant}, run ${record.run}, ${record.seconds} s`);
    };
    // A question that went wrong says so at the end, too; the others are still worth their time.
    await ask(question, { ...options, onRecord }).catch((error: unknown) => {
      process.exitCode = 1;
      console.error(`${(error as Error).message}\n`);
    });
    for (const summary of summarize(records)) {
      if (summary.question === question.name) console.log(section(summary));
    }
  }
  const verdicts = judge(summarize(records));
  if (verdicts.length > 0) console.log(`## Goals\n\n${goalsTable(verdicts)}`);
}

/** For whoever wants to repeat it; where the results went is of no use to them. */
function commandText(words: readonly string[]): string {
  const kept = words.filter(
    (word, at) => word !== '--out' && words[at - 1] !== '--out' && !word.startsWith('--out='),
  );
  const quoted = kept.map((word) => (word.includes(' ') ? `'${word}'` : word));
  return ['npm run bench --', ...quoted, '--out results.jsonl'].join(' ');
}

/** @throws Error when it is none */
function contestantsOf(name: string | undefined): readonly Contestant[] {
  const named = CONTESTANTS.filter((contestant) => name === undefined || name === contestant);
  if (named.length === 0) throw new Error(`--contestant: '${name}' is none of ${CONTESTANTS.join(', ')}`);
  return named;
}

function number(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`${flag}: '${text}' is not a number above 0`);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
await main();
