import type { ServiceContext } from '../context.ts';
import { chainOf, heirsOf } from '../environments/inheritance.ts';
import type { ConfigurationName } from '../model.ts';
import { type FieldProblem, ServiceError } from '../service-error.ts';
import { checkSchema, violations } from '../values/json-schema.ts';
import { type Content, contentOf, type Edit } from './content.ts';
import type { Finding } from './findings.ts';

interface Looked {
  readonly edit: Edit;
  /** All of the change. */
  readonly edits: readonly Edit[];
  readonly nowMs: number;
}

/**
 * Whether the schema is one, the value keeps it, and the values of the environments that inherit the schema do. A
 * configuration without a schema keeps that of the nearest environment that it inherits from.
 */
export function schemaFindings(context: ServiceContext, looked: Looked): readonly Finding[] {
  const { edit } = looked;
  const { field, content } = edit;
  if (content === null) return [];
  const broken = content.schema === null ? [] : schemaProblems(content.schema);
  if (broken.length > 0) return broken.map((problem) => errorAt(`${field}${problem.field}`, problem.message));
  const schema = content.schema ?? inheritedSchema(context, looked);
  const own =
    schema === null || content.plain === undefined
      ? []
      : violations(schema, content.plain).map((problem) =>
          errorAt(`${field}${problem.field}`, problem.message),
        );
  const isNew = content.schema !== null && content.schema !== (edit.before?.row.schema ?? null);
  return isNew && content.schema !== null ? [...own, ...heirFindings(context, looked, content.schema)] : own;
}

function errorAt(field: string, message: string): Finding {
  return { severity: 'error', check: 'schema', field, message };
}

function schemaProblems(schema: string): readonly FieldProblem[] {
  try {
    checkSchema(schema);
    return [];
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return error.problems.length > 0 ? error.problems : [{ field: 'schema', message: error.message }];
  }
}

/** Of the nearest environment in the chain that has one. */
function inheritedSchema(context: ServiceContext, { edit, edits, nowMs }: Looked): string | null {
  const { name } = edit;
  const [, ...ancestors] = chainOf(context.projection.state, name.tenant, name.environment);
  for (const environment of ancestors) {
    const schema = contentAt(context, { name: { ...name, environment }, edits, nowMs })?.schema ?? null;
    if (schema !== null) return schema;
  }
  return null;
}

/** The values below that have no schema of their own, up to the next schema. */
function heirFindings(
  context: ServiceContext,
  { edit, edits, nowMs }: Looked,
  schema: string,
): readonly Finding[] {
  const { name, field } = edit;
  const { state } = context.projection;
  return heirsOf(state, name.tenant, name.environment).flatMap((environment) => {
    const heir = { ...name, environment };
    const content = contentAt(context, { name: heir, edits, nowMs });
    // Of a secret not even whether it fits: who sets the schema here may not be one who may read it there.
    if (content === null || content.schema !== null || content.type === 'secret') return [];
    if (content.plain === undefined) return [];
    const chain = chainOf(state, name.tenant, environment);
    const between = chain.slice(1, chain.indexOf(name.environment));
    const isShadowed = between.some((id) => {
      return (
        (contentAt(context, { name: { ...name, environment: id }, edits, nowMs })?.schema ?? null) !== null
      );
    });
    if (isShadowed) return [];
    return violations(schema, content.plain).map(
      ({ message }): Finding => ({
        severity: 'error',
        check: 'schema',
        field: `${field}schema`,
        message: `the value in ${environment}, which inherits it, breaks it: ${message}`,
      }),
    );
  });
}

/** What would be there after the change. */
function contentAt(
  context: ServiceContext,
  {
    name,
    edits,
    nowMs,
  }: { readonly name: ConfigurationName; readonly edits: readonly Edit[]; readonly nowMs: number },
): Content | null {
  const edit = edits.find((other) => sameName(other.name, name));
  if (edit !== undefined) return edit.content;
  const entry = context.projection.state.configurations.find(name);
  return entry?.isLive(nowMs) === true ? contentOf(context, entry.read(), entry.id) : null;
}

function sameName(left: ConfigurationName, right: ConfigurationName): boolean {
  return (
    left.key === right.key &&
    left.environment === right.environment &&
    left.application === right.application &&
    left.tenant === right.tenant
  );
}
