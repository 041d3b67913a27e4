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
    const chain = chainOf(state, scope.tenant, scope.environment);
    const of = (changes: readonly ReferringEdit[]): Wrong => wrongIn(state, { scope, chain, edits: changes });
    const after = of(edits);
    if (after.size === 0) continue;
    const own = edits.flatMap((edit) => problemsOf(edit, after, { state, scope }));
    if (own.length > 0) throw invalid(...own);
    const before = of([]);
    for (const [id, findings] of after) if (!before.has(id)) throw breaks(id, findings, scope, 'key');
  }
}

/**
 * Checks that another parent leaves an environment, and those that inherit from it, nothing that refers to what is not
 * there any more.
 *
 * @throws ServiceError `conflict`
 */
export function checkReferencesUnder(
  state: ProjectionState,
  { tenant, id, parent }: { readonly tenant: string; readonly id: string; readonly parent: string | null },
): void {
  const inherited = parent === null ? [] : chainOf(state, tenant, parent);
  const applications = new Set<string>();
  for (const kind of ['flag', 'segment'] as const) {
    for (const { row } of state.features.all(kind, tenant)) applications.add(row.application);
  }
  for (const environment of [id, ...heirsOf(state, tenant, id)]) {
    const before = chainOf(state, tenant, environment);
    const after = [...before.slice(0, before.indexOf(id) + 1), ...inherited];
    for (const application of applications) {
      const scope = { tenant, environment, application };
      const wrong = wrongIn(state, { scope, chain: after, edits: [] });
      if (wrong.size === 0) continue;
      const known = wrongIn(state, { scope, chain: before, edits: [] });
      for (const [of, findings] of wrong) if (!known.has(of)) throw breaks(of, findings, scope, 'parent');
    }
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

function breaks(
  id: string,
  findings: readonly Finding[],
  { environment }: Scope,
  field: 'key' | 'parent',
): ServiceError {
  const [finding] = findings;
  const message = `${id.replace('/', ' ')} in ${environment} would be wrong: ${finding?.message ?? ''}`;
  return new ServiceError('conflict', message, { problems: [{ field, message }] });
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

interface Situation {
  readonly scope: Scope;
  /** The environment and those that it inherits from, nearest first. */
  readonly chain: readonly string[];
  readonly edits: readonly ReferringEdit[];
}

function wrongIn(state: ProjectionState, situation: Situation): Wrong {
  const flags = definitions(state, 'flag', situation) as ReadonlyMap<string, FlagDefinition>;
  const segments = definitions(state, 'segment', situation) as ReadonlyMap<string, Segment>;
  const checked = checkSet(flags, segments);
  return new Map([
    ...[...checked.flags.findings].map(([key, findings]) => [idIn('flag', key), findings] as const),
    ...[...checked.segments.findings].map(([key, findings]) => [idIn('segment', key), findings] as const),
  ]);
}

/** What holds in the scope once the edits are made. */
function definitions(
  state: ProjectionState,
  kind: FeatureKind,
  { scope, chain, edits }: Situation,
): ReadonlyMap<string, FeatureContent['definition']> {
  const found = new Map<string, FeatureContent['definition']>();
  for (const environment of chain.toReversed()) {
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
