import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '../support/repository-root.ts';

/** When a step comes: what a run has to bring about so that a member takes it. */
export type Situation =
  | 'first start'
  | 'start'
  | 'torn start'
  | 'load'
  | 'snapshot'
  | 'broken snapshot'
  | 'damage';

/** The table of all steps in which a running member changes its disk, shared with what is loaded into the server. */
export interface StepTable {
  /** Methods of the ports of storage: those that are steps, and those that change nothing or only begin a step. */
  readonly ports: Readonly<
    Record<string, { readonly steps: readonly string[]; readonly others: readonly string[] }>
  >;
  /** By situation and name: what happens. In the order in which a member takes them, as far as there is one. */
  readonly steps: Readonly<Record<Situation, Readonly<Record<string, string>>>>;
}

/** A moment at which a process can end: right before or right after a step. */
export interface CrashPoint {
  readonly situation: Situation;
  readonly step: string;
  readonly when: 'before' | 'after';
}

/** The module to preload. */
export const PRELOAD: string = join(repositoryRoot(), 'test/process/crash-preload.mjs');

export const STEP_TABLE: StepTable = JSON.parse(
  readFileSync(join(repositoryRoot(), 'test/process/crash-steps.json'), 'utf8'),
) as StepTable;

/** All points of a situation. */
export function pointsOf(situation: Situation): readonly CrashPoint[] {
  return Object.keys(STEP_TABLE.steps[situation]).flatMap((step) => [
    { situation, step, when: 'before' as const },
    { situation, step, when: 'after' as const },
  ]);
}

export const ALL_POINTS: readonly CrashPoint[] = (Object.keys(STEP_TABLE.steps) as Situation[]).flatMap(
  pointsOf,
);

export function pointName({ step, when }: CrashPoint): string {
  return `${when} ${step}`;
}
