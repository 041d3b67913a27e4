import { checkSet } from './check-set.ts';
import { definitionAt } from './compile.ts';
import { isObject, jsonLength } from './fields.ts';
import { type Finding, Findings } from './finding.ts';
import { FlagdConditions } from './flagd-condition.ts';
import { FlagdWriter } from './flagd-export.ts';
import { FlagdReader } from './flagd-import.ts';
import { JSON_DEPTH_MAX } from './limits.ts';
import type { FlagDefinition, FlagMetadata, Json, Segment } from './model.ts';
import { validateFlag, validateSegment } from './validate.ts';

/**
 * flagd's JSON flag definitions (schema v0): what the model carries goes over and back with the same answers, the rest
 * is a finding and the flag stays behind; nothing is changed silently. Not carried are, on the way in: JsonLogic beyond
 * comparisons of one attribute with constants, and shares or variants that are computed; on the way out: regular
 * expressions, times but that of the evaluation, objects to equal. Beyond the letter: `===` compares as EQUALS does, an
 * attribute that is absent is neither below nor above anything, and a flag that needs an absent targeting key answers
 * TARGETING_KEY_MISSING where flagd answers the default.
 */

/** What came over, and what could not. */
export interface FlagdImport {
  readonly flags: readonly FlagDefinition[];
  /** Of the evaluators that are conditions. */
  readonly segments: readonly Segment[];
  /** Fields are paths in flagd's document, or those of the flag that it became. */
  readonly findings: readonly Finding[];
}

/** Reads a document. @param document parsed JSON */
export function importFlagd(document: unknown): FlagdImport {
  const nothing = { flags: [], segments: [] };
  if (!isObject(document) || Number.isNaN(jsonLength(document, JSON_DEPTH_MAX, Number.POSITIVE_INFINITY))) {
    const message = `must be a JSON object, nested at most ${JSON_DEPTH_MAX} deep`;
    return { ...nothing, findings: [{ field: '', message }] };
  }
  const { flags, $evaluators: evaluators = {}, metadata = {} } = document as Readonly<Record<string, Json>>;
  if (!isObject(flags)) return { ...nothing, findings: [{ field: 'flags', message: 'must be an object' }] };
  if (!isObject(evaluators) || !isObject(metadata)) {
    const field = isObject(evaluators) ? 'metadata' : '$evaluators';
    return { ...nothing, findings: [{ field, message: 'must be an object' }] };
  }
  return importAll({
    flags: flags as Readonly<Record<string, Json>>,
    evaluators: evaluators as Readonly<Record<string, Json>>,
    metadata: metadata as FlagMetadata,
  });
}

function importAll(document: {
  readonly flags: Readonly<Record<string, Json>>;
  readonly evaluators: Readonly<Record<string, Json>>;
  readonly metadata: FlagMetadata;
}): FlagdImport {
  const findings: Finding[] = [];
  const segments: Segment[] = [];
  const keep = <Thing>(prefix: string, made: Made<Thing>): Thing | null => {
    if (made.ok) return made.value;
    for (const { field, message } of made.findings) {
      findings.push({ field: field === '' ? prefix : `${prefix}/${field}`, message });
    }
    return null;
  };
  const asSegments = new Set<string>();
  for (const [name, expression] of Object.entries(document.evaluators)) {
    const of = { findings: new Findings(), evaluators: document.evaluators, segments: asSegments };
    const condition = new FlagdConditions(of).condition(expression, null);
    // What is no condition is put in wherever it is referred to.
    if (condition === null) continue;
    const segment = keep(`$evaluators/${name}`, validateSegment({ key: name, when: [condition] }));
    if (segment === null) continue;
    segments.push(segment);
    asSegments.add(name);
  }
  const flags = Object.entries(document.flags).flatMap(([key, value]) => {
    const reader = new FlagdReader({ key, evaluators: document.evaluators, segments: asSegments });
    const written = reader.flag(value, document.metadata);
    const made =
      reader.findings.list.length > 0
        ? ({ ok: false, findings: reader.findings.list } as const)
        : validateFlag(written);
    return keep(`flags/${key}`, made) ?? [];
  });
  return { flags, segments, findings };
}

type Made<Thing> =
  | { readonly ok: true; readonly value: Thing }
  | { readonly ok: false; readonly findings: readonly Finding[] };

/** A flag as flagd writes it. */
export interface FlagdFlag {
  readonly state: 'ENABLED' | 'DISABLED';
  readonly variants: { readonly [name: string]: Json };
  /** Null = the caller's default. */
  readonly defaultVariant: string | null;
  readonly targeting?: Json;
  readonly metadata?: FlagMetadata;
}

export interface FlagdDocument {
  readonly $schema: string;
  readonly flags: { readonly [key: string]: FlagdFlag };
  readonly $evaluators?: { readonly [name: string]: Json };
}

export interface FlagdExport {
  readonly document: FlagdDocument;
  /** Of flags that are left out, by their fields in the flag. */
  readonly findings: readonly (Finding & { readonly flag: string })[];
}

/**
 * Writes flags as they stand at a time: of schedules and ramps what holds then (`FlagSet.nextChangeMs` says until when).
 * A flag that is disabled and has an off variant is written as one that always answers it, since flagd has none.
 */
export function exportFlagd(
  {
    flags,
    segments = [],
  }: { readonly flags: Iterable<FlagDefinition>; readonly segments?: Iterable<Segment> },
  nowMs: number,
): FlagdExport {
  const definitions = new Map([...flags].map((flag) => [flag.key, definitionAt(flag, nowMs)]));
  const segmentsByKey = new Map([...segments].map((segment) => [segment.key, segment]));
  const evaluators = new Map<string, Json>();
  const written: [string, FlagdFlag][] = [];
  const findings: (Finding & { readonly flag: string })[] = [];
  const { findings: wrong } = checkSet(definitions, segmentsByKey).flags;
  for (const [key, definition] of definitions) {
    const writer = new FlagdWriter({ flags: definitions, segments: segmentsByKey, evaluators, nowMs });
    const flag = wrong.has(key) ? null : writer.flag(definition);
    const found = wrong.get(key) ?? writer.findings.list;
    if (flag !== null && found.length === 0) written.push([key, flag]);
    for (const finding of found) findings.push({ flag: key, ...finding });
  }
  const document = {
    $schema: 'https://flagd.dev/schema/v0/flags.json',
    flags: Object.fromEntries(written),
    ...(evaluators.size === 0 ? {} : { $evaluators: Object.fromEntries(evaluators) }),
  };
  return { document, findings };
}
