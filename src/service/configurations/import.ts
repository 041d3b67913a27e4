import type { Caller } from '../caller.ts';
import type { ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import { allEffectiveOf, type Effective } from '../environments/inheritance.ts';
import { type ParsedEntry, PROBLEMS_MAX, valueOf } from '../formats/parsed-set.ts';
import { parseSet, type SetFormat } from '../formats/set-format.ts';
import type { Shape } from '../formats/tree.ts';
import { idOf } from '../keyspace.ts';
import type { Scope, ValueType } from '../model.ts';
import { checkName, checkScope } from '../names.ts';
import { MASK } from '../secrets/keyring.ts';
import { type FieldProblem, invalid, ServiceError } from '../service-error.ts';
import { diffJson, type JsonDiff } from '../values/diff.ts';
import { isObject, sameJson } from '../values/json-limits.ts';
import { bytesOf, subtypeOf } from '../values/value-types.ts';
import type { ShownValue } from '../views.ts';
import type { WriteAnswer, WrittenItem } from './apply.ts';
import type { BulkItem, Configurations } from './configurations.ts';
import { contentOf } from './content.ts';
import { EDITS_MAX, isLive, storedOf } from './edits.ts';
import type { Finding } from './findings.ts';

/** A text of values for an application in an environment. */
export interface ImportRequest extends ChangeOptions {
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

export interface ImportAnswer {
  readonly revision: number;
  /** One for each part that was changed. */
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
/** Bytes of values in one part: each stands in three rows of one transaction of 1.5 MiB. */
const PART_VALUE_BYTES = 320 * 1024;

interface Wanted {
  readonly item: BulkItem & { readonly action: 'put' | 'delete' };
  readonly key: string;
  readonly line: number | null;
  readonly bytes: number;
}

/** Values that stand as they are asked for already, and what is left to do. */
interface Planned {
  readonly wanted: readonly Wanted[];
  readonly unchanged: number;
}

/**
 * The use case that takes values from a text. What is there already is left alone, so that an import that stopped halfway
 * is gone on with by sending it again. Up to 40 changes are one transaction; more are made in parts, one after another,
 * each of which must keep the rules by itself, and all of which are tried before the first is made.
 */
export class Imports {
  readonly #context: ServiceContext;
  readonly #configurations: Configurations;

  constructor(context: ServiceContext, configurations: Configurations) {
    this.#context = context;
    this.#configurations = configurations;
  }

  /** @throws ServiceError `invalid` with line and key of all that is wrong; as `Configurations.bulk` */
  async import(caller: Caller, request: ImportRequest): Promise<ImportAnswer> {
    checkScope(request.scope);
    await this.#context.projection.catchUp(caller.signal);
    const { wanted, unchanged } = this.#planned(request);
    const parts = partsOf(wanted);
    const tried: WriteAnswer[] = [];
    if (request.dryRun === true || parts.length > 1) {
      for (const part of parts) tried.push(await this.#run(caller, request, { part, dryRun: true }));
    }
    const done: WriteAnswer[] = [];
    if (request.dryRun !== true) {
      for (const part of parts) done.push(await this.#run(caller, request, { part, dryRun: false }));
    }
    const answers = request.dryRun === true ? tried : done;
    const revision = answers.at(-1)?.revision ?? this.#context.projection.revision;
    return { revision, ...summaryOf(answers, unchanged) };
  }

  async #run(
    caller: Caller,
    { scope, reason, changeSet, idempotencyKey }: ImportRequest,
    { part, dryRun }: { readonly part: readonly Wanted[]; readonly dryRun: boolean },
  ): Promise<WriteAnswer> {
    const key = idempotencyKey ?? null;
    const request = {
      tenant: scope.tenant,
      items: part.map(({ item }) => item),
      dryRun,
      reason,
      changeSet,
      // A part is known by where it begins: when an import is gone on with, those before it are done.
      idempotencyKey: key === null ? null : idOf(['import', key, part[0]!.key]),
    };
    try {
      return await this.#configurations.bulkAs(caller, request, 'import');
    } catch (error) {
      throw byKey(error, part);
    }
  }

  #planned(request: ImportRequest): Planned {
    const { scope, format, text, shape = 'flat', deleteMissing } = request;
    const nowMs = this.#context.clock.nowMs();
    const known = allEffectiveOf(this.#context.projection.state, scope, nowMs);
    const isWhole = (key: string): boolean => holdsObject(known.get(key));
    const { entries, problems } = parseSet(text, { format, shape }, { keys: known.keys(), isWhole });
    if (problems.length > 0) throw invalid(...problems.map(({ line, message }) => at(line, message)));
    const wanted = this.#wantedPuts(request, { entries, known });
    const changes = wanted.filter((one) => !this.#isThere(one, nowMs));
    const unchanged = wanted.length - changes.length;
    if (deleteMissing === true) {
      const named = new Set(entries.map(({ key }) => key));
      for (const [key, { source }] of known) {
        if (source === 'own' && !named.has(key)) changes.push(deletion(scope, key));
      }
    }
    return { wanted: changes, unchanged };
  }

  #wantedPuts(
    { scope, secretKeys }: ImportRequest,
    {
      entries,
      known,
    }: { readonly entries: readonly ParsedEntry[]; readonly known: ReadonlyMap<string, Effective> },
  ): Wanted[] {
    const secrets = new Set(secretKeys);
    const problems: FieldProblem[] = [];
    const wanted: Wanted[] = [];
    for (const entry of entries) {
      if (problems.length >= PROBLEMS_MAX) break;
      const there = known.get(entry.key);
      try {
        wanted.push(wantedOf(scope, { entry, there, isSecret: secrets.has(entry.key) }));
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        for (const { message } of error.problems) problems.push(about(entry, message));
      }
    }
    const named = new Set(entries.map(({ key }) => key));
    for (const key of secrets) {
      if (!named.has(key)) problems.push({ field: 'secretKeys', message: `the text has no ${key}` });
    }
    if (problems.length > 0) throw invalid(...problems.slice(0, PROBLEMS_MAX));
    return wanted;
  }

  /** Whether the environment itself has the value already. */
  #isThere({ item, key }: Wanted, nowMs: number): boolean {
    const { tenant, environment, application } = item.ref as Scope;
    const stored = storedOf(this.#context.projection.state, { tenant, environment, application, key });
    if (stored === null || !isLive(stored, nowMs) || item.value === undefined || 'text' in item.value) {
      return false;
    }
    const { type, plain } = contentOf(this.#context, stored.row, stored.row.id);
    if (type === 'secret' && item.value.json === MASK) return true;
    return (item.type === undefined || item.type === type) && sameJson(plain, item.value.json);
  }
}

function wantedOf(
  scope: Scope,
  {
    entry,
    there,
    isSecret,
  }: { readonly entry: ParsedEntry; readonly there: Effective | undefined; readonly isSecret: boolean },
): Wanted {
  const { key, line } = entry;
  const ref = { ...scope, key };
  checkName(ref);
  const before = typeOf(there);
  const type = isSecret || (before === 'secret' && there?.source === 'inherited') ? 'secret' : undefined;
  const json = valueOf(entry, type ?? before);
  const isMask = json === MASK && (isSecret || before === 'secret');
  if (isMask && (before !== 'secret' || there?.source !== 'own')) {
    throw invalid({ field: 'value', message: 'is what is shown of a secret, not the secret' });
  }
  const item = { action: 'put', ref, value: { json }, type } as const;
  return { item, key, line, bytes: bytesOf(json) };
}

function deletion(scope: Scope, key: string): Wanted {
  return { item: { action: 'delete', ref: { ...scope, key } }, key, line: null, bytes: 0 };
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

function partsOf(wanted: readonly Wanted[]): readonly (readonly Wanted[])[] {
  const parts: Wanted[][] = [];
  let bytes = 0;
  for (const one of wanted) {
    const part = parts.at(-1);
    bytes += one.bytes;
    if (part !== undefined && part.length < EDITS_MAX && bytes <= PART_VALUE_BYTES) part.push(one);
    else {
      parts.push([one]);
      bytes = one.bytes;
    }
  }
  return parts;
}

function summaryOf(answers: readonly WriteAnswer[], unchanged: number): Omit<ImportAnswer, 'revision'> {
  const items = answers.flatMap(({ items: written }) => written);
  const changed = items.filter(({ type }) => type !== 'unchanged');
  const count = (wanted: WrittenItem['type']): number => items.filter(({ type }) => type === wanted).length;
  return {
    changeIds: answers.flatMap(({ changeId }) => (changeId === null ? [] : [changeId])),
    created: count('created'),
    updated: count('updated'),
    deleted: count('deleted'),
    unchanged: unchanged + count('unchanged'),
    items: changed.slice(0, IMPORT_ITEMS_SHOWN_MAX).flatMap(itemOf),
    more: changed.length > IMPORT_ITEMS_SHOWN_MAX,
    findings: answers.flatMap(({ findings }) => findings).slice(0, PROBLEMS_MAX),
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

/** The failure of a part with the keys of the text in place of the part's items. */
function byKey(error: unknown, part: readonly Wanted[]): unknown {
  if (!(error instanceof ServiceError)) return error;
  const problems = error.problems.map(({ field, message }) => {
    const [, index, rest] = /^items\/(\d+)\/?(.*)$/.exec(field) ?? [];
    const one = index === undefined ? undefined : part[Number(index)];
    if (one === undefined) return { field, message };
    // The same for all of them.
    if (rest === 'environment') return { field: rest, message };
    const place = rest === undefined || rest === '' ? one.key : `${one.key}/${rest}`;
    return { field: place, message: one.line === null ? message : `line ${one.line}: ${message}` };
  });
  const message = problems.map((problem) => `${problem.field}: ${problem.message}`).join('; ');
  const text = error.code === 'invalid' && message !== '' ? message : error.message;
  return new ServiceError(error.code, text, { cause: error, problems });
}

function at(line: number | null, message: string): FieldProblem {
  return { field: 'text', message: line === null ? message : `line ${line}: ${message}` };
}

function about({ key, line }: ParsedEntry, message: string): FieldProblem {
  return { field: key, message: line === null ? message : `line ${line}: ${message}` };
}
