import type { Finding } from '../../evaluation/finding.ts';
import { validateFlag, validateSegment } from '../../evaluation/validate.ts';
import type { FeatureDefinition, FeatureKind, FeatureName, Json, Scope } from '../model.ts';
import { checkScope, checkTags, checkText, Problems } from '../names.ts';
import { type FieldProblem, invalid } from '../service-error.ts';
import { isObject, sameJson } from '../values/json-limits.ts';
import { mergePatch } from '../values/merge-patch.ts';
import { definitionJson } from './definition-json.ts';

/** Bytes of a feature as JSON: row and version must fit one request of 1.5 MiB, several times over. */
export const FEATURE_BYTES_MAX = 256 * 1024;
/** Characters of a flag's or segment's key. */
const KEY_LENGTH_MAX = 255;
const KEY = /^[A-Za-z0-9_][A-Za-z0-9_.:-]*$/;

/** What a version of a feature holds. */
export interface FeatureContent {
  readonly description: string;
  /** Sorted, each once. */
  readonly tags: readonly string[];
  readonly definition: FeatureDefinition['definition'];
}

/** What a request may say of a feature. What is left out stays, or is the default of a new one. */
export interface FeatureInput {
  readonly description?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  /** As evaluation has it, as people write it: the key may be left out. A new feature needs one. */
  readonly definition?: Json | undefined;
  /** RFC 7396: changes parts of the definition, instead of `definition`. */
  readonly definitionPatch?: Json | undefined;
}

/** @throws ServiceError `invalid`, which names every field that is wrong */
export function checkFeatureName(name: FeatureName): void {
  const problems = new Problems();
  problems.gather('', () => checkScope(name));
  const { key } = name;
  if (key.length === 0) problems.add('key', 'must not be empty');
  else if (key.length > KEY_LENGTH_MAX) problems.add('key', `is longer than ${KEY_LENGTH_MAX} characters`);
  else if (!KEY.test(key)) {
    const words = 'must be letters, digits, "_", "-", "." and ":", and begin with a letter, a digit or "_"';
    problems.add('key', words);
  }
  problems.check();
}

/**
 * The content that an input makes of what was there.
 *
 * @param before null = there was none
 * @throws ServiceError `invalid`, which names every field that is wrong
 */
export function featureContentFrom(
  input: FeatureInput,
  { name, before }: { readonly name: FeatureName; readonly before: FeatureContent | null },
): FeatureContent {
  const problems = new Problems();
  const { description = before?.description ?? '' } = input;
  problems.gather('', () => checkText('description', description));
  let tags = before?.tags ?? [];
  problems.gather('', () => {
    if (input.tags !== undefined) tags = checkTags(input.tags);
  });
  const definition = definitionFrom(input, { name, before, problems });
  problems.check();
  const content = { description, tags, definition: definition! };
  if (Buffer.byteLength(JSON.stringify(content)) > FEATURE_BYTES_MAX) {
    throw invalid({ field: 'definition', message: `is larger than ${FEATURE_BYTES_MAX} bytes` });
  }
  return content;
}

/** Null with problems. */
function definitionFrom(
  { definition, definitionPatch }: FeatureInput,
  {
    name,
    before,
    problems,
  }: { readonly name: FeatureName; readonly before: FeatureContent | null; readonly problems: Problems },
): FeatureContent['definition'] | null {
  if (definition !== undefined && definitionPatch !== undefined) {
    problems.add('definitionPatch', 'cannot be there beside a definition');
    return null;
  }
  const known = before === null ? undefined : definitionJson(before.definition);
  const written = definitionPatch === undefined ? definition : mergePatch(known, definitionPatch);
  if (written === undefined) {
    if (before === null) problems.add('definition', 'is required');
    return before?.definition ?? null;
  }
  const validated = validatedDefinition(name, written);
  if (validated.ok) return validated.value;
  problems.addAll(validated.problems);
  return null;
}

type ValidatedDefinition =
  | { readonly ok: true; readonly value: FeatureContent['definition'] }
  | { readonly ok: false; readonly problems: readonly FieldProblem[] };

/** A definition from JSON that people wrote: its key is that of the name, and may be left out. */
export function validatedDefinition({ kind, key }: FeatureName, written: Json): ValidatedDefinition {
  if (isObject(written) && Object.hasOwn(written, 'key') && written.key !== key) {
    return { ok: false, problems: [{ field: 'definition/key', message: `must be ${key}, or left out` }] };
  }
  const keyed = isObject(written) ? { ...written, key } : written;
  const validated = kind === 'flag' ? validateFlag(keyed) : validateSegment(keyed);
  if (validated.ok) return { ok: true, value: validated.value };
  return { ok: false, problems: validated.findings.map(problemOf) };
}

/** As a field of a request. */
export function problemOf({ field, message }: Finding): FieldProblem {
  return { field: field === '' ? 'definition' : `definition/${field}`, message };
}

export function sameFeature(left: FeatureContent, right: FeatureContent): boolean {
  return (
    left.description === right.description &&
    left.tags.join('\0') === right.tags.join('\0') &&
    sameJson(definitionJson(left.definition), definitionJson(right.definition))
  );
}

/** `flag x of shop in production`. */
export function described({ kind, key, environment, application }: FeatureName): string {
  return `${kind} ${key} of ${application} in ${environment}`;
}

/** The name of a feature in a scope. */
export function nameIn(kind: FeatureKind, scope: Scope, key: string): FeatureName {
  const { tenant, environment, application } = scope;
  return { kind, tenant, environment, application, key };
}
