import { Fields, isObject, jsonLength } from './fields.ts';
import { type Finding, Findings, inside, type Place } from './finding.ts';
import { parseInstant } from './instant.ts';
import {
  CONDITIONS_MAX,
  DEFINITION_LENGTH_MAX,
  JSON_DEPTH_MAX,
  KEY_LENGTH_MAX,
  KEYS_MAX,
  METADATA_MAX,
  NAME_LENGTH_MAX,
  PREREQUISITES_MAX,
  RAMP_POINTS_MAX,
  RULES_MAX,
  SCHEDULE_MAX,
  SERVICES_MAX,
  TEXT_LENGTH_MAX,
  TOTAL_WEIGHT_MAX,
  VARIANTS_MAX,
} from './limits.ts';
import {
  type Bucketing,
  FLAG_TYPES,
  type FlagChange,
  type FlagDefinition,
  type FlagMetadata,
  type FlagType,
  type Json,
  type Prerequisite,
  type Ramp,
  type Rollout,
  type Rule,
  type ScheduledChange,
  type Segment,
  type Serve,
  type Split,
  type Target,
  WHOLE,
} from './model.ts';
import { equalityProblem, readConditions } from './read-condition.ts';

/** What was written, in its whole form; or what is wrong with it. */
export type Validated<Thing> =
  | { readonly ok: true; readonly value: Thing }
  | { readonly ok: false; readonly findings: readonly Finding[] };

const ATTRIBUTE: { readonly max: number } = { max: NAME_LENGTH_MAX };
const KEY = { max: KEY_LENGTH_MAX };
const TARGETING_KEY_BOUNDS = { max: TEXT_LENGTH_MAX };
const PERCENTAGE = { min: 0, max: WHOLE };

/**
 * A flag from JSON that people wrote. Required are `key`, `type`, `variants` and `fallthrough`; an enabled flag without
 * anything else is what an absent field means. What it refers to is checked with the whole set, by `checkSet`.
 */
export function validateFlag(input: unknown): Validated<FlagDefinition> {
  return validated(input, readFlag);
}

/** A segment from JSON that people wrote; required is `key`. */
export function validateSegment(input: unknown): Validated<Segment> {
  return validated(input, (fields) => {
    const key = fields.text('key', KEY) ?? '';
    const included = fields.texts('included', { max: KEYS_MAX }, TARGETING_KEY_BOUNDS);
    const excluded = fields.texts('excluded', { max: KEYS_MAX }, TARGETING_KEY_BOUNDS);
    return { key, included, excluded, when: readConditions(fields, 'when') };
  });
}

function validated<Thing>(input: unknown, read: (fields: Fields) => Thing): Validated<Thing> {
  const findings = new Findings();
  const length = jsonLength(input, JSON_DEPTH_MAX, DEFINITION_LENGTH_MAX);
  if (Number.isNaN(length)) {
    findings.add(null, `must be JSON, nested at most ${JSON_DEPTH_MAX} deep`);
  } else if (length > DEFINITION_LENGTH_MAX) {
    findings.add(null, `must have at most ${DEFINITION_LENGTH_MAX} characters as JSON`);
  } else {
    const fields = Fields.of(input, null, findings);
    if (fields !== null) {
      const value = read(fields);
      fields.end();
      if (findings.list.length === 0) return { ok: true, value };
    }
  }
  return { ok: false, findings: findings.list };
}

function readFlag(fields: Fields): FlagDefinition {
  const key = fields.text('key', KEY) ?? '';
  const type = fields.oneOf('type', FLAG_TYPES);
  const variants = readVariants(fields, type);
  const reader = new FlagReader(fields.findings, new Set(Object.keys(variants)));
  return {
    key,
    type: type ?? 'object',
    enabled: fields.has('enabled') ? (fields.boolean('enabled') ?? false) : true,
    variants,
    offVariant: reader.variantOrNull(fields, 'offVariant'),
    fallthrough: reader.serveAt(fields.get('fallthrough'), fields.at('fallthrough')),
    targets: reader.targets(fields),
    rules: reader.rules(fields),
    prerequisites: readPrerequisites(fields, key),
    targetServices: fields.texts('targetServices', { max: SERVICES_MAX }, ATTRIBUTE),
    conditions: readConditionMap(fields),
    schedule: reader.schedule(fields),
    expiresAt: readTime(fields, 'expiresAt', true),
    metadata: readMetadata(fields),
  };
}

function readVariants(fields: Fields, type: FlagType | null): { readonly [name: string]: Json } {
  const inner = Fields.of(fields.get('variants'), fields.at('variants'), fields.findings);
  const names = inner?.names() ?? [];
  if (inner === null) return {};
  if (names.length === 0 || names.length > VARIANTS_MAX) {
    fields.findings.add(inner.place, `must have 1 to ${VARIANTS_MAX} variants`);
    return {};
  }
  return Object.fromEntries(
    names.map((name) => {
      const value = inner.get(name) as Json;
      if (name === '' || name.length > NAME_LENGTH_MAX)
        fields.findings.add(inner.at(name), `its name must have 1 to ${NAME_LENGTH_MAX} characters`);
      if (type !== null && !isOfType(value, type))
        fields.findings.add(inner.at(name), `must be of type ${type}`);
      return [name, value];
    }),
  );
}

function isOfType(value: Json, type: FlagType): boolean {
  return type === 'object' ? typeof value === 'object' && value !== null : typeof value === type;
}

/** Reads what names variants. */
class FlagReader {
  readonly #findings: Findings;
  readonly #variants: ReadonlySet<string>;

  constructor(findings: Findings, variants: ReadonlySet<string>) {
    this.#findings = findings;
    this.#variants = variants;
  }

  variantOrNull(fields: Fields, name: string): string | null {
    const value = fields.get(name);
    return value === undefined || value === null ? null : this.#variant(value, fields.at(name));
  }

  #variant(value: unknown, place: Place): string {
    if (typeof value === 'string' && this.#variants.has(value)) return value;
    const named =
      typeof value === 'string' ? `there is no variant ${value}` : 'must be the name of a variant';
    this.#findings.add(place, value === undefined ? 'is required' : named);
    return '';
  }

  serveAt(value: unknown, place: Place): Serve {
    const fields = Fields.of(value, place, this.#findings);
    if (fields === null) return { variant: null };
    const serve = this.#serve(fields);
    fields.end();
    return serve;
  }

  #serve(fields: Fields): Serve {
    if (fields.has('split') && !fields.has('variant')) return { split: this.#split(fields) };
    if (!fields.has('variant') || fields.has('split')) {
      fields.get('split');
      this.#findings.add(fields.place, 'must have either a variant or a split');
    }
    const variant = fields.get('variant');
    if (variant === undefined || variant === null) return { variant: null };
    return { variant: this.#variant(variant, fields.at('variant')) };
  }

  #split(outer: Fields): Split {
    const nothing: Split = { weights: [], total: WHOLE, seed: null, bucketBy: null };
    const fields = Fields.of(outer.get('split'), outer.at('split'), this.#findings);
    if (fields === null) return nothing;
    const max = TOTAL_WEIGHT_MAX;
    const total = fields.has('total') ? (fields.integer('total', { min: 1, max }) ?? 0) : WHOLE;
    const weights = fields.list('weights', { min: 1, max: VARIANTS_MAX }, (value, place) => {
      const part = Fields.of(value, place, this.#findings);
      if (part === null) return null;
      const variant = this.#variant(part.get('variant'), part.at('variant'));
      const weight = part.integer('weight', { min: 0, max }) ?? 0;
      part.end();
      return { variant, weight };
    });
    const split = { weights, total, ...readBucketing(fields) };
    fields.end();
    const sum = weights.reduce((before, { weight }) => before + weight, 0);
    if (total > 0 && weights.length > 0 && sum !== total)
      this.#findings.add(fields.at('weights'), `must add up to ${total}, and are ${sum}`);
    return split;
  }

  targets(fields: Fields): readonly Target[] {
    const seen = new Set<string>();
    return fields.list('targets', { max: VARIANTS_MAX }, (value, place) => {
      const inner = Fields.of(value, place, this.#findings);
      if (inner === null) return null;
      const variant = this.#variant(inner.get('variant'), inner.at('variant'));
      const keys = inner.texts('keys', { min: 1, max: KEYS_MAX }, TARGETING_KEY_BOUNDS);
      keys.forEach((key, index) => {
        if (seen.has(key)) this.#findings.add(inside(inner.at('keys'), index), `${key} is there twice`);
        seen.add(key);
      });
      inner.end();
      return { variant, keys };
    });
  }

  rules(fields: Fields): readonly Rule[] {
    return fields.list('rules', { max: RULES_MAX }, (value, place) => {
      const inner = Fields.of(value, place, this.#findings);
      if (inner === null) return null;
      const name = inner.has('name') ? (inner.text('name', { min: 0, max: NAME_LENGTH_MAX }) ?? '') : '';
      const when = readConditions(inner, 'when');
      const rollout = this.#rollout(inner);
      const serve = this.serveAt(inner.get('serve'), inner.at('serve'));
      inner.end();
      this.#checkSeeds(inner, rollout, serve);
      return { name, when, rollout, serve };
    });
  }

  /** In the same buckets, whoever is let in would all get the first variant. */
  #checkSeeds(rule: Fields, rollout: Rollout | null, serve: Serve): void {
    if (rollout === null || !('split' in serve)) return;
    if (rollout.seed !== serve.split.seed) return;
    const message = 'must differ from that of the rollout, which would decide the split otherwise';
    this.#findings.add(inside(inside(rule.at('serve'), 'split'), 'seed'), message);
  }

  #rollout(outer: Fields): Rollout | null {
    const value = outer.get('rollout');
    if (value === undefined || value === null) return null;
    const fields = Fields.of(value, outer.at('rollout'), this.#findings);
    if (fields === null) return null;
    const share = fields.integer('share', PERCENTAGE) ?? 0;
    const rollout = { share, ramp: readRamp(fields), ...readBucketing(fields) };
    fields.end();
    return rollout;
  }

  schedule(fields: Fields): readonly ScheduledChange[] {
    let lastMs = Number.NEGATIVE_INFINITY;
    return fields.list('schedule', { max: SCHEDULE_MAX }, (value, place) => {
      const inner = Fields.of(value, place, this.#findings);
      if (inner === null) return null;
      const at = readTime(inner, 'at', false) ?? '';
      if (parseInstant(at) <= lastMs) this.#findings.add(inner.at('at'), 'must be after the one before');
      lastMs = Math.max(lastMs, parseInstant(at));
      const set = Fields.of(inner.get('set'), inner.at('set'), this.#findings);
      inner.end();
      return set === null ? null : { at, set: this.#change(set) };
    });
  }

  #change(fields: Fields): FlagChange {
    const set = {
      ...(fields.has('enabled') ? { enabled: fields.boolean('enabled') ?? false } : {}),
      ...(fields.has('offVariant') ? { offVariant: this.variantOrNull(fields, 'offVariant') } : {}),
      ...(fields.has('fallthrough')
        ? { fallthrough: this.serveAt(fields.get('fallthrough'), fields.at('fallthrough')) }
        : {}),
      ...(fields.has('targets') ? { targets: this.targets(fields) } : {}),
      ...(fields.has('rules') ? { rules: this.rules(fields) } : {}),
    };
    fields.end();
    if (Object.keys(set).length === 0) this.#findings.add(fields.place, 'must change something');
    return set;
  }
}

function readBucketing(fields: Fields): Bucketing {
  return {
    seed: fields.get('seed') === '' ? '' : fields.optionalText('seed', { max: TEXT_LENGTH_MAX }),
    bucketBy: fields.optionalText('bucketBy', ATTRIBUTE),
  };
}

function readRamp(outer: Fields): Ramp | null {
  const value = outer.get('ramp');
  if (value === undefined || value === null) return null;
  const fields = Fields.of(value, outer.at('ramp'), outer.findings);
  if (fields === null) return null;
  const kind = fields.oneOf('kind', ['steps', 'linear'] as const) ?? 'steps';
  let lastMs = Number.NEGATIVE_INFINITY;
  const points = fields.list('points', { min: 1, max: RAMP_POINTS_MAX }, (point, place) => {
    const inner = Fields.of(point, place, outer.findings);
    if (inner === null) return null;
    const at = readTime(inner, 'at', false) ?? '';
    if (parseInstant(at) <= lastMs) outer.findings.add(inner.at('at'), 'must be after the one before');
    lastMs = Math.max(lastMs, parseInstant(at));
    const share = inner.integer('share', PERCENTAGE) ?? 0;
    inner.end();
    return { at, share };
  });
  fields.end();
  return { kind, points };
}

function readPrerequisites(fields: Fields, key: string): readonly Prerequisite[] {
  return fields.list('prerequisites', { max: PREREQUISITES_MAX }, (value, place) => {
    const inner = Fields.of(value, place, fields.findings);
    if (inner === null) return null;
    const flag = inner.text('flag', KEY) ?? '';
    if (flag !== '' && flag === key) fields.findings.add(inner.at('flag'), 'must be another flag');
    const variants = inner.texts('variants', { min: 1, max: VARIANTS_MAX }, ATTRIBUTE);
    inner.end();
    return { flag, variants };
  });
}

function readConditionMap(fields: Fields): { readonly [attribute: string]: Json } {
  const value = fields.get('conditions');
  if (value === undefined) return {};
  const inner = Fields.of(value, fields.at('conditions'), fields.findings);
  const names = inner?.names() ?? [];
  if (inner === null) return {};
  if (names.length > CONDITIONS_MAX)
    fields.findings.add(inner.place, `must have at most ${CONDITIONS_MAX} entries`);
  for (const name of names) {
    const problem = equalityProblem(inner.get(name) as Json);
    if (problem !== null) fields.findings.add(inner.at(name), problem);
    if (name === '' || name.length > NAME_LENGTH_MAX)
      fields.findings.add(inner.at(name), `its name must have 1 to ${NAME_LENGTH_MAX} characters`);
  }
  return Object.fromEntries(names.map((name) => [name, inner.get(name) as Json]));
}

function readMetadata(fields: Fields): FlagMetadata {
  const value = fields.get('metadata');
  if (value === undefined) return {};
  const { findings } = fields;
  const place = fields.at('metadata');
  if (!isObject(value)) {
    findings.add(place, 'must be an object');
    return {};
  }
  const entries = Object.entries(value) as readonly (readonly [string, Json])[];
  if (entries.length > METADATA_MAX) findings.add(place, `must have at most ${METADATA_MAX} entries`);
  for (const [name, part] of entries) {
    const isTooLong =
      name.length > NAME_LENGTH_MAX || (typeof part === 'string' && part.length > TEXT_LENGTH_MAX);
    if (isTooLong) findings.add(inside(place, name), 'is too long');
    if (typeof part === 'object')
      findings.add(inside(place, name), 'must be a text, a number, true or false');
  }
  return Object.fromEntries(entries) as FlagMetadata;
}

function readTime(fields: Fields, name: string, isOptional: boolean): string | null {
  const value = fields.get(name);
  if (isOptional && (value === undefined || value === null)) return null;
  if (typeof value === 'string' && !Number.isNaN(parseInstant(value))) return value;
  const must = 'must be a time in ISO 8601 with a zone';
  return fields.findings.add(fields.at(name), value === undefined ? 'is required' : must);
}
