import type { ServiceContext } from '../context.ts';
import { plainPrefix } from '../keyspace.ts';
import type { ConfigurationName, Scope } from '../model.ts';
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
  const values = new ValuesAfter(context, { edits, nowMs });
  return withoutErrors([
    ...edits.flatMap((edit) => schemaFindings(context, { edit, edits, nowMs })),
    ...ruleFindings(context, { edits, nowMs }),
    ...edits.flatMap((edit) => referenceFindings(values, edit)),
    ...edits.flatMap(secretFindings),
  ]);
}

/**
 * The values that would hold after a change, each scope of them gathered once, however many of the edits ask for it.
 */
export class ValuesAfter {
  readonly #context: ServiceContext;
  readonly #overlay: { readonly edits: readonly Edit[] };
  readonly #nowMs: number;
  readonly #values = new Map<string, ReadonlyMap<string, HeldValue>>();
  /** By scope, and by the key that is referred to. */
  readonly #referring = new Map<string, ReadonlyMap<string, readonly string[]>>();

  constructor(
    context: ServiceContext,
    { edits, nowMs }: { readonly edits: readonly Edit[]; readonly nowMs: number },
  ) {
    this.#context = context;
    this.#overlay = { edits };
    this.#nowMs = nowMs;
  }

  /** By key. */
  of(scope: Scope): ReadonlyMap<string, HeldValue> {
    const id = plainPrefix(scope).toString();
    const values =
      this.#values.get(id) ??
      valuesUnder(this.#context, { scope, nowMs: this.#nowMs, overlay: this.#overlay });
    this.#values.set(id, values);
    return values;
  }

  /** The keys of the same application whose values in the environment refer to a key. */
  keysReferringTo(name: ConfigurationName): readonly string[] {
    const id = plainPrefix(name).toString();
    const referring = this.#referring.get(id) ?? keysByReference(this.of(name));
    this.#referring.set(id, referring);
    return (referring.get(name.key) ?? []).filter((key) => key !== name.key);
  }
}

function keysByReference(values: ReadonlyMap<string, HeldValue>): ReadonlyMap<string, readonly string[]> {
  const referring = new Map<string, string[]>();
  for (const [key, value] of values) {
    if (!value.mayRefer) continue;
    for (const referred of referencesOf(value.json)) {
      const keys = referring.get(referred);
      if (keys === undefined) referring.set(referred, [key]);
      else keys.push(key);
    }
  }
  return referring;
}

function referenceFindings(values: ValuesAfter, edit: Edit): readonly Finding[] {
  const { name, field, content, before } = edit;
  if (content === null) {
    return values.keysReferringTo(name).map((key) => ({
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
  const held = values.of(name);
  return resolve(content.plain, (key) => fillingOf(held.get(key))).problems.map(
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
function fillingOf(value: HeldValue | undefined): HeldValue['json'] | undefined {
  return value === undefined || value.isSecret ? undefined : value.json;
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
