import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import type { Figure, Question } from './question.ts';
import { MANY_KEYS } from './questions/many-keys.ts';
import { UNARY_QUESTIONS } from './questions/unary.ts';
import { WATCH_QUESTIONS } from './questions/watch-fan-out.ts';
import { machine, section } from './report.ts';
import { type Contestant, etcdProgram, ServerCluster } from './server-cluster.ts';

/** `npm run bench`: Conclave and etcd, by turns, on this machine, with the same load. */

const HELP = `Measures Conclave and etcd by turns, each a fresh cluster of three on this machine.

Usage: npm run bench -- [options]

  --only TEXT   questions whose names contain it
  --runs N      of each question and contestant (default 3)
  --list        the questions
  --help

etcd: ETCD_BIN, or where Debian's package etcd-server puts it. h2load: Debian's nghttp2-client.`;

const QUESTIONS: readonly Question[] = [...UNARY_QUESTIONS, ...WATCH_QUESTIONS, MANY_KEYS];
const CONTESTANTS: readonly Contestant[] = ['conclave', 'etcd'];

async function answer(question: Question, runs: number): Promise<string> {
  const figures: Record<Contestant, (readonly Figure[])[]> = { conclave: [], etcd: [] };
  for (let run = 0; run < runs; run++) {
    for (const contestant of CONTESTANTS) {
      const cluster = await ServerCluster.start(contestant);
      try {
        figures[contestant].push(await question.measure(cluster));
      } finally {
        await cluster.destroy();
      }
    }
  }
  return section(question, figures);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      runs: { type: 'string', default: '3' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const questions = QUESTIONS.filter(({ name }) => name.includes(values.only));
  if (values.list) return console.log(questions.map(({ name }) => name).join('\n'));
  const version = execFileSync(etcdProgram(), ['--version'], { encoding: 'utf8' });
  console.log(`${machine(/etcd Version: (\S+)/.exec(version)?.[1] ?? 'unknown')}\n`);
  for (const question of questions) console.log(await answer(question, Number(values.runs)));
}

await main();
