import { type FieldProblem, invalid } from '../service-error.ts';

/** Something about a change that its author should know: an `error` keeps it from being made. */
export interface Finding {
  readonly severity: 'error' | 'warning';
  /** Which check found it. */
  readonly check: 'schema' | 'rule' | 'reference' | 'secret';
  /** As the request wrote it. */
  readonly field: string;
  readonly message: string;
}

/** Findings of one change; further ones are not told. */
export const FINDINGS_MAX = 100;

/** @returns the warnings. @throws ServiceError `invalid` with the errors, if there are any */
export function withoutErrors(findings: readonly Finding[]): readonly Finding[] {
  const errors = findings.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw invalid(...errors.slice(0, FINDINGS_MAX).map(problemOf));
  return findings.slice(0, FINDINGS_MAX);
}

function problemOf({ field, message }: Finding): FieldProblem {
  return { field, message };
}
