import { checkSet } from '../../evaluation/check-set.ts';
import type { Finding } from '../../evaluation/finding.ts';
import type { FlagDefinition, Segment } from '../../evaluation/model.ts';
import { chainOf, heirsOf } from '../environments/inheritance.ts';
import type { FeatureKind, FeatureName, Scope } from '../model.ts';
import type { ProjectionState } from '../projection-state.ts';
import { type FieldProblem, invalid, ServiceError } from '../service-error.ts';
import { type FeatureContent, problemOf } from './feature-content.ts';

/** A feature as it would be; null = deleted. */
export interface ReferringEdit {
  readonly name: FeatureName;
  readonly field: string;
  readonly content: FeatureContent | null;
}

/**
 * Checks what features refer to, in every environment that a change reaches: that it is there, that no references go
 * round, and what an evaluation costs with all of them. What was wrong before, and is not changed, does not matter.
 *
 * @throws ServiceError `invalid` for the features themselves, `conflict` for others that refer to them
 */
export function checkReferences(state: ProjectionState, edits: readonly ReferringEdit[]): void {
  for (const scope of scopesReached(state, edits)) {
    const of = (changes: readonly ReferringEdit[]): Wrong => wrongIn(state, scope, changes);
    const after = of(edits);
    if (after.size === 0) continue;
    const own = edits.flatMap((edit) => problemsOf(edit, after, { state, scope }));
    if (own.length > 0) throw invalid(...own);
    const before = of([]);
    for (const [id, findings] of after) if (!before.has(id)) throw breaks(id, findings, scope);
  }
}

function problemsOf(
  { name, field, content }: ReferringEdit,
  wrong: Wrong,
  { state, scope }: { readonly state: ProjectionState; readonly scope: Scope },
): readonly FieldProblem[] {
  const isReached =
    content !== null &&
    name.application === scope.application &&
    chainOf(state, scope.tenant, scope.environment).includes(name.environment);
  const findings = isReached ? (wrong.get(idIn(name.kind, name.key)) ?? []) : [];
  const where = scope.environment === name.environment ? '' : ` (in ${scope.environment})`;
  return findings.map((finding) => {
    const problem = problemOf(finding);
    return { field: `${field}${problem.field}`, message: `${problem.message}${where}` };
  });
}

function breaks(id: string, findings: readonly Finding[], { environment }: Scope): ServiceError {
  const [finding] = findings;
  const message = `${id.replace('/', ' ')} in ${environment} would be wrong: ${finding?.message ?? ''}`;
  return new ServiceError('conflict', message, { problems: [{ field: 'key', message }] });
}

/** Each application in each environment where something of the change may hold. */
function scopesReached(state: ProjectionState, edits: readonly ReferringEdit[]): readonly Scope[] {
  const scopes = new Map<string, Scope>();
  for (const { name } of edits) {
    const { tenant, application } = name;
    for (const environment of [name.environment, ...heirsOf(state, tenant, name.environment)]) {
      scopes.set(`${tenant}/${environment}/${application}`, { tenant, environment, application });
    }
  }
  return [...scopes.values()];
}

/** What is wrong, by kind and key. */
type Wrong = ReadonlyMap<string, readonly Finding[]>;

function wrongIn(state: ProjectionState, scope: Scope, edits: readonly ReferringEdit[]): Wrong {
  const flags = definitions(state, { kind: 'flag', scope, edits }) as ReadonlyMap<string, FlagDefinition>;
  const segments = definitions(state, { kind: 'segment', scope, edits }) as ReadonlyMap<string, Segment>;
  const checked = checkSet(flags, segments);
  return new Map([
    ...[...checked.flags.findings].map(([key, findings]) => [idIn('flag', key), findings] as const),
    ...[...checked.segments.findings].map(([key, findings]) => [idIn('segment', key), findings] as const),
  ]);
}

/** What holds in the scope once the edits are made. */
function definitions(
  state: ProjectionState,
  {
    kind,
    scope,
    edits,
  }: { readonly kind: FeatureKind; readonly scope: Scope; readonly edits: readonly ReferringEdit[] },
): ReadonlyMap<string, FeatureContent['definition']> {
  const found = new Map<string, FeatureContent['definition']>();
  for (const environment of chainOf(state, scope.tenant, scope.environment).toReversed()) {
    const own = new Map<string, FeatureContent['definition']>();
    for (const { row } of state.features.scope(kind, { ...scope, environment }))
      own.set(row.key, row.definition);
    for (const { name, content } of edits) {
      const isHere =
        name.kind === kind && name.environment === environment && name.application === scope.application;
      if (isHere && content === null) own.delete(name.key);
      else if (isHere && content !== null) own.set(name.key, content.definition);
    }
    for (const [key, definition] of own) found.set(key, definition);
  }
  return found;
}

function idIn(kind: FeatureKind, key: string): string {
  return `${kind}/${key}`;
}
