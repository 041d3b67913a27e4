import type { Figure, Unit } from './question.ts';
import type { Contestant } from './server-cluster.ts';

/** What was measured on and with what: the first line of every file of results. */
export interface MachineRecord {
  readonly kind: 'machine';
  readonly startedAt: string;
  readonly command: string;
  readonly processors: number;
  readonly processor: string;
  readonly memoryGib: number;
  readonly system: string;
  readonly node: string;
  readonly conclave: string;
  readonly etcd: string;
  readonly h2load: string;
  readonly seed: number;
  /** 1 = the loads as they are described. */
  readonly scale: number;
}

/** One run of one question with one contestant. */
export interface RunRecord {
  readonly kind: 'run';
  readonly question: string;
  readonly load: string;
  readonly contestant: Contestant;
  /** From 1. */
  readonly run: number;
  readonly startedAt: string;
  /** That it took, start and end of the cluster included. */
  readonly seconds: number;
  /** Of the last minute, before the run: how busy the machine was with other things. */
  readonly loadAverage: number;
  readonly figures: readonly Figure[];
}

export type BenchRecord = MachineRecord | RunRecord;

/** JSON lines, as `--out` writes them. */
export function recordLine(record: BenchRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** @throws Error for a line that is no record */
export function parseRecords(text: string): readonly BenchRecord[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const record = JSON.parse(line) as BenchRecord;
      if (record.kind !== 'machine' && record.kind !== 'run')
        throw new Error(`no record: ${line.slice(0, 80)}`);
      return record;
    });
}

/** One figure of one question over all runs. */
export interface FigureSummary {
  readonly name: string;
  readonly unit: Unit;
  readonly conclave: readonly number[];
  readonly etcd: readonly number[];
}

export interface QuestionSummary {
  readonly question: string;
  readonly load: string;
  readonly figures: readonly FigureSummary[];
}

/** The runs by question, in the order in which they were asked. */
export function summarize(records: readonly BenchRecord[]): readonly QuestionSummary[] {
  const byQuestion = new Map<string, RunRecord[]>();
  for (const record of records) {
    if (record.kind !== 'run') continue;
    const runs = byQuestion.get(record.question) ?? [];
    byQuestion.set(record.question, [...runs, record]);
  }
  return [...byQuestion].map(([question, runs]) => ({
    question,
    load: runs[0]!.load,
    figures: runs[0]!.figures.map(({ name, unit }) => ({
      name,
      unit,
      conclave: valuesOf(runs, 'conclave', name),
      etcd: valuesOf(runs, 'etcd', name),
    })),
  }));
}

function valuesOf(runs: readonly RunRecord[], contestant: Contestant, name: string): readonly number[] {
  return (
    runs
      .filter((run) => run.contestant === contestant)
      .flatMap((run) => run.figures.filter((figure) => figure.name === name))
      // JSON has no word for what is no number.
      .map((figure) => (figure.value as number | null) ?? Number.NaN)
  );
}
