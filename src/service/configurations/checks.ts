import type { ServiceContext } from '../context.ts';
import { sameJson } from '../values/json-limits.ts';
import { referencesOf, resolve } from '../values/references.ts';
import { suspectedSecrets } from '../values/secret-scan.ts';
import type { Edit } from './content.ts';
import { type HeldValue, valuesUnder } from './effective-values.ts';
import { type Finding, withoutErrors } from './findings.ts';
import { ruleFindings } from './rule-checks.ts';
import { schemaFindings } from './schema-checks.ts';

/**
 * Checks what a change would leave: schemas, rules over several keys, references, and what looks like a secret.
 *
 * @returns what is suspicious, but not wrong
 * @throws ServiceError `invalid` with all that is wrong
 */
export function checkEdits(
  context: ServiceContext,
  nowMs: number,
  edits: readonly Edit[],
): readonly Finding[] {
  return withoutErrors([
    ...edits.flatMap((edit) => schemaFindings(context, { edit, edits, nowMs })),
    ...ruleFindings(context, { edits, nowMs }),
    ...edits.flatMap((edit) => referenceFindings(context, { edit, edits, nowMs })),
    ...edits.flatMap(secretFindings),
  ]);
}

/** The keys of the same application whose values in the environment refer to a key. */
export function referencingKeys(
  context: ServiceContext,
  { edit, edits, nowMs }: { readonly edit: Edit; readonly edits: readonly Edit[]; readonly nowMs: number },
): readonly string[] {
  const values = valuesUnder(context, { scope: edit.name, nowMs, overlay: { edits } });
  return [...values]
    .filter(
      ([key, { json, isSecret }]) => key !== edit.name.key && !isSecret && refersTo(json, edit.name.key),
    )
    .map(([key]) => key);
}

function referenceFindings(
  context: ServiceContext,
  { edit, edits, nowMs }: { readonly edit: Edit; readonly edits: readonly Edit[]; readonly nowMs: number },
): readonly Finding[] {
  const { name, field, content, before } = edit;
  if (content === null) {
    return referencingKeys(context, { edit, edits, nowMs }).map((key) => ({
      severity: 'warning',
      check: 'reference',
      field: `${field}key`,
      message: `${key} refers to it`,
    }));
  }
  if (content.type === 'secret' || content.plain === undefined) return [];
  const isSame =
    before !== null && before.row.value.type !== 'secret' && sameJson(before.row.value.json, content.plain);
  if (isSame || referencesOf(content.plain).length === 0) return [];
  const values = valuesUnder(context, { scope: name, nowMs, overlay: { edits } });
  return resolve(content.plain, (key) => fillingOf(values.get(key))).problems.map(
    ({ type, pointer, message }): Finding => ({
      // What is unknown here may be meant for another program, or come later.
      severity: type === 'unknown' ? 'warning' : 'error',
      check: 'reference',
      field: `${field}value${pointer}`,
      message,
    }),
  );
}

/** What a reference is replaced by: never by a secret, which would show it. */
export function fillingOf(value: HeldValue | undefined): HeldValue['json'] | undefined {
  return value === undefined || value.isSecret ? undefined : value.json;
}

function refersTo(json: HeldValue['json'], key: string): boolean {
  return referencesOf(json).includes(key);
}

function secretFindings({ name, field, content }: Edit): readonly Finding[] {
  if (content === null || content.type === 'secret' || content.plain === undefined) return [];
  return suspectedSecrets(name.key, content.plain).map(({ pointer, message }) => ({
    severity: 'warning',
    check: 'secret',
    field: `${field}value${pointer}`,
    message,
  }));
}
