import type { Caller } from '../caller.ts';
import type { ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { allEffectiveOf, type Effective } from '../environments/inheritance.ts';
import { type ParsedEntry, PROBLEMS_MAX, valueOf } from '../formats/parsed-set.ts';
import { parseSet, type SetFormat } from '../formats/set-format.ts';
import type { Shape } from '../formats/tree.ts';
import type { Json, Scope, ValueType } from '../model.ts';
import { checkName, checkScope } from '../names.ts';
import { MASK } from '../secrets/keyring.ts';
import { type FieldProblem, invalid, ServiceError } from '../service-error.ts';
import { diffJson, type JsonDiff } from '../values/diff.ts';
import { isObject } from '../values/json-limits.ts';
import { subtypeOf } from '../values/value-types.ts';
import type { ShownValue } from '../views.ts';
import type { WrittenItem } from './apply.ts';
import { FINDINGS_MAX, type Finding } from './findings.ts';
import type { ImportAnswer, Importing } from './importing.ts';

/** A text of values for an application in an environment. */
export interface TextImportRequest extends ChangeOptions {
  readonly scope: Scope;
  readonly format: SetFormat;
  readonly text: string;
  /** Of JSON and YAML: keys as they are, or objects in objects at their dots. Default: flat. */
  readonly shape?: Shape | undefined;
  /** Keys whose values are secrets. */
  readonly secretKeys?: readonly string[] | undefined;
  /** Also delete what the environment has itself and the text has not. */
  readonly deleteMissing?: boolean | undefined;
  /** Show what would be different, but change nothing. */
  readonly dryRun?: boolean | undefined;
  /** Hears how many keys are done, of how many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What becomes of one key. */
export interface ImportedItem {
  readonly key: string;
  readonly type: 'created' | 'updated' | 'deleted';
  readonly before: ShownValue | null;
  /** Null = it is deleted. */
  readonly after: ShownValue | null;
  /** Null with a secret. */
  readonly diff: JsonDiff | null;
}

export interface TextImportAnswer {
  readonly revision: number;
  /** One for each transaction that changed something. */
  readonly changeIds: readonly string[];
  readonly created: number;
  readonly updated: number;
  readonly deleted: number;
  readonly unchanged: number;
  /** The first 1,000 that differ. */
  readonly items: readonly ImportedItem[];
  /** Further ones differ. */
  readonly more: boolean;
  /** What is suspicious, but not wrong; the first 100. */
  readonly findings: readonly Finding[];
}

/** Items that one answer shows. */
export const IMPORT_ITEMS_SHOWN_MAX = 1_000;

/** The values of a text, and where each of them stands in it. */
interface Read {
  readonly values: ReadonlyMap<string, Json>;
  readonly lines: ReadonlyMap<string, number | null>;
}

/** The use case that takes values from a text. */
export class TextImport {
  readonly #context: ServiceContext;
  readonly #importing: Importing;

  constructor(context: ServiceContext, importing: Importing) {
    this.#context = context;
    this.#importing = importing;
  }

  /** @throws ServiceError `invalid` with line and key of all that is wrong; as `Importing.import` */
  async import(caller: Caller, request: TextImportRequest): Promise<TextImportAnswer> {
    const { scope, reason, changeSet, idempotencyKey, secretKeys, deleteMissing, dryRun } = request;
    checkScope(scope);
    await this.#context.projection.catchUp(caller.signal);
    const { values, lines } = this.#read(request);
    try {
      const answer = await this.#importing.import(caller, {
        scope,
        values,
        secretKeys: new Set(secretKeys),
        reason,
        changeSet,
        idempotencyKey,
        deleteMissing,
        dryRun,
        onProgress: request.onProgress,
      });
      return summaryOf(answer, values.size);
    } catch (error) {
      throw byKey(error, lines);
    }
  }

  #read({ scope, format, text, shape = 'flat', secretKeys = [] }: TextImportRequest): Read {
    const nowMs = this.#context.clock.nowMs();
    const known = allEffectiveOf(this.#context.projection.state, scope, nowMs);
    const isWhole = (key: string): boolean => holdsObject(known.get(key));
    const { entries, problems } = parseSet(text, { format, shape }, { keys: known.keys(), isWhole });
    if (problems.length > 0) throw invalid(...problems.map(({ line, message }) => at(line, message)));
    const secrets = new Set(secretKeys);
    const lines = new Map(entries.map(({ key, line }) => [key, line]));
    const found: FieldProblem[] = [...secrets]
      .filter((key) => !lines.has(key))
      .map((key) => ({ field: 'secretKeys', message: `the text has no ${key}` }));
    const values = new Map<string, Json>();
    for (const entry of entries) {
      if (found.length >= PROBLEMS_MAX) break;
      try {
        const there = known.get(entry.key);
        values.set(entry.key, readValue(scope, { entry, there, isSecret: secrets.has(entry.key) }));
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        found.push(...error.problems.map(({ message }) => about(entry, message)));
      }
    }
    if (found.length > 0) throw invalid(...found.slice(0, PROBLEMS_MAX));
    return { values, lines };
  }
}

function readValue(
  scope: Scope,
  {
    entry,
    there,
    isSecret,
  }: { readonly entry: ParsedEntry; readonly there: Effective | undefined; readonly isSecret: boolean },
): Json {
  checkName({ ...scope, key: entry.key });
  const before = typeOf(there);
  const json = valueOf(entry, isSecret ? 'secret' : before);
  const isMask = json === MASK && (isSecret || before === 'secret');
  if (isMask && (before !== 'secret' || there?.source !== 'own')) {
    throw invalid({ field: 'value', message: 'is what is shown of a secret, not the secret' });
  }
  if (before === 'secret' && there?.source === 'inherited' && !isSecret) {
    throw invalid({
      field: 'value',
      message: 'is inherited as a secret: name the key among those of secrets',
    });
  }
  return json;
}

function typeOf(there: Effective | undefined): ValueType | undefined {
  if (there === undefined) return undefined;
  return there.source === 'default' ? subtypeOf(there.json) : there.entry.type;
}

function holdsObject(there: Effective | undefined): boolean {
  if (there === undefined) return false;
  if (there.source === 'default') return isObject(there.json);
  return there.entry.type === 'json' || there.entry.type === 'secret';
}

function summaryOf({ revision, changeIds, items, findings }: ImportAnswer, asked: number): TextImportAnswer {
  const changed = items.filter(({ type }) => type !== 'unchanged');
  const count = (wanted: WrittenItem['type']): number => items.filter(({ type }) => type === wanted).length;
  return {
    revision,
    changeIds,
    created: count('created'),
    updated: count('updated'),
    deleted: count('deleted'),
    // What a repetition is answered from does not name them.
    unchanged: asked - count('created') - count('updated'),
    items: changed.slice(0, IMPORT_ITEMS_SHOWN_MAX).flatMap(itemOf),
    more: changed.length > IMPORT_ITEMS_SHOWN_MAX,
    findings: findings.slice(0, FINDINGS_MAX).map((finding) => ({ ...finding, field: bare(finding.field) })),
  };
}

function itemOf({ type, before, after }: WrittenItem): readonly ImportedItem[] {
  if (type === 'unchanged') return [];
  const left = before?.value ?? null;
  const right = type === 'deleted' ? null : after.value;
  const isMasked = left?.isMasked === true || right?.isMasked === true;
  const diff = isMasked ? null : diffJson(left?.json, right?.json);
  return [{ key: after.key, type, before: left, after: right, diff }];
}

/** The failure with the lines of the text. */
function byKey(error: unknown, lines: ReadonlyMap<string, number | null>): unknown {
  if (!(error instanceof ServiceError)) return error;
  const problems = error.problems.map(({ field, message }) => {
    const place = bare(field);
    // The same for all of them.
    if (/^[^/]+\/environment$/.test(place)) return { field: 'environment', message };
    const line = lines.get(place.split('/', 1)[0]!) ?? null;
    return { field: place, message: line === null ? message : `line ${line}: ${message}` };
  });
  const message = problems.map((problem) => `${problem.field}: ${problem.message}`).join('; ');
  const text = error.code === 'invalid' && message !== '' ? message : error.message;
  return new ServiceError(error.code, text, { cause: error, problems });
}

/** A field of a value, without what all of them begin with. */
function bare(field: string): string {
  return field.replace(/^values\//, '');
}

function at(line: number | null, message: string): FieldProblem {
  return { field: 'text', message: line === null ? message : `line ${line}: ${message}` };
}

function about({ key, line }: ParsedEntry, message: string): FieldProblem {
  return { field: key, message: line === null ? message : `line ${line}: ${message}` };
}
