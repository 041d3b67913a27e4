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
  /** What a command or a start with a flag of its own does: every step in its order, a step that comes again too. */
  readonly tools: Readonly<Record<Tool, readonly string[]>>;
}

/** What changes a data directory besides a member that runs. */
export type Tool = 'restore' | 'forced start';

/** A moment at which a tool can end. `occurrence`: which of the steps of this name, from 1. */
export interface ToolPoint extends Omit<CrashPoint, 'situation'> {
  readonly occurrence: number;
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

/** All points of a tool. */
export function toolPointsOf(tool: Tool): readonly ToolPoint[] {
  const steps = STEP_TABLE.tools[tool];
  return steps.flatMap((step, i) => {
    const occurrence = steps.slice(0, i + 1).filter((name) => name === step).length;
    return [
      { step, occurrence, when: 'before' as const },
      { step, occurrence, when: 'after' as const },
    ];
  });
}

export function pointName({ step, when, occurrence = 1 }: PointNames): string {
  return `${when} ${step}${occurrence > 1 ? ` ${occurrence}` : ''}`;
}

type PointNames = Pick<CrashPoint, 'step' | 'when'> & { readonly occurrence?: number };
