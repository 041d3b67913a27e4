import type { KvOp, KvRow } from '../../kv/kv.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import type { Caller } from '../caller.ts';
import type { ChangeMeta, ChangeOptions, Guard, Plan } from '../commit.ts';
import type { ConfigurationEntry } from '../configuration-index.ts';
import type { ServiceContext } from '../context.ts';
import { hasEnvironment } from '../environments/inheritance.ts';
import { configurationId, configurationKey, plainKey, plainPrefix, plainPrefixOf } from '../keyspace.ts';
import { asService } from '../kv-errors.ts';
import type { ChangeItem, Configuration, ConfigurationName, Json, SealedValue } from '../model.ts';
import { checkName, checkTenant } from '../names.ts';
import type { Stored } from '../projection-state.ts';
import { encodeConfiguration, valueBytes } from '../rows.ts';
import { MASK } from '../secrets/keyring.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { isObject, sameJson } from '../values/json-limits.ts';
import { parseJsonText, TextProblem } from '../values/json-text.ts';
import { subtypeOf } from '../values/value-types.ts';
import { type ShownValue, shown } from '../views.ts';
import { applyEdits, type WriteAnswer } from './apply.ts';
import { type Content, contentFrom, contentOf, type Edit } from './content.ts';
import { EDITS_MAX, isLive, storedOf } from './edits.ts';
import { type Answer, MANY_MAX } from './reads.ts';
import { within } from './requests.ts';

/** A plain value that is not what the service put there. */
export interface Drift extends ConfigurationName {
  /** `unmanaged`: there is no such configuration; `missing`: there is no plain value. */
  readonly type: 'changed' | 'missing' | 'unmanaged';
  readonly expected: ShownValue | null;
  readonly actual: ShownValue | null;
  /** Of the plain value; 0 when it is missing. */
  readonly modRevision: number;
}

/** Where drift is looked for; what is left out means everywhere. */
export interface DriftRequest {
  readonly tenant: string;
  readonly environment?: string | undefined;
  readonly application?: string | undefined;
}

/** At most 40 of them. */
export interface DriftChange extends ChangeOptions {
  readonly names: readonly ConfigurationName[];
}

/** Plain keys that are read at a time. */
const PAGE_KEYS = 1_000;

/** The use cases about plain values that were changed past the service. */
export class Drifts {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** The first 1,000 of them, in the order of their keys. @throws ServiceError */
  async list(
    caller: Caller,
    request: DriftRequest,
  ): Promise<Answer<{ readonly items: readonly Drift[]; readonly more: boolean }>> {
    checkTenant(request.tenant);
    await this.#context.projection.catchUp(caller.signal);
    await this.#context.access.check(caller, 'read', request);
    const { rows, revision } = await this.#plainRows(caller, request);
    await this.#context.projection.catchUp(caller.signal);
    const suspects = this.#suspects(request, { rows, revision });
    const items: Drift[] = [];
    for (let at = 0; at < suspects.length && items.length <= MANY_MAX; at += EDITS_MAX) {
      const names = suspects.slice(at, at + EDITS_MAX);
      const now = await this.#readPlain(caller, names);
      names.forEach((name, index) => {
        const drift = this.#driftOf(name, now[index] ?? null);
        if (drift !== null) items.push(drift);
      });
    }
    return { revision, result: { items: items.slice(0, MANY_MAX), more: items.length > MANY_MAX } };
  }

  /**
   * Makes what stands at the plain keys the configurations: a changed value a new version, a missing one a deletion, an
   * unmanaged one a new configuration. What has not drifted is left alone.
   *
   * @throws ServiceError `too-large` for more than 40, `invalid` for values that their schema does not allow
   */
  async adopt(caller: Caller, request: DriftChange): Promise<WriteAnswer> {
    const tenant = await this.#checkChange(caller, request);
    let guards: readonly Guard[] = [];
    return applyEdits(
      this.#context,
      caller,
      {
        operation: 'adopt',
        tenant,
        options: request,
        body: request,
        // What is adopted is what was seen.
        besides: () => ({ guards, ops: [] }),
      },
      async (meta) => {
        const rows = await this.#readPlain(caller, request.names);
        guards = request.names.map((name, at) => guardOf(name, rows[at] ?? null));
        return request.names.flatMap((name, at) => this.#adopted({ name, row: rows[at] ?? null, at, meta }));
      },
    );
  }

  /**
   * Puts back what the configurations say; a plain value without one is deleted. Makes no version.
   *
   * @throws ServiceError `too-large` for more than 40
   */
  async revert(
    caller: Caller,
    request: DriftChange,
  ): Promise<{ readonly revision: number; readonly reverted: number }> {
    const tenant = await this.#checkChange(caller, request);
    const { reason, changeSet, idempotencyKey } = request;
    const committed = await this.#context.committer.commit(
      caller,
      { reason, changeSet, idempotencyKey, operation: 'revert', tenant, body: request },
      async () => {
        const rows = await this.#readPlain(caller, request.names);
        return joined(request.names.map((name, at) => this.#reverted(name, rows[at] ?? null)));
      },
    );
    const reverted = committed.type === 'repeated' ? committed.record.items.length : committed.result;
    return { revision: committed.revision, reverted };
  }

  async #checkChange(caller: Caller, { names }: DriftChange): Promise<string> {
    const [first] = names;
    if (first === undefined) throw invalid({ field: 'names', message: 'must not be empty' });
    if (names.length > EDITS_MAX) {
      throw new ServiceError('too-large', `one change takes ${EDITS_MAX} configurations at most`);
    }
    for (const [at, name] of names.entries()) {
      within(`names/${at}/`, () => checkName(name));
      if (name.tenant !== first.tenant)
        throw invalid({ field: `names/${at}`, message: 'is of another tenant' });
    }
    await this.#context.access.checkAll(caller, 'write', names);
    return first.tenant;
  }

  /** Without values, at one revision. */
  async #plainRows(
    caller: Caller,
    { tenant, environment, application }: DriftRequest,
  ): Promise<{ readonly rows: readonly KvRow[]; readonly revision: number }> {
    const prefix =
      environment !== undefined && application !== undefined
        ? plainPrefix({ tenant, environment, application })
        : plainPrefixOf({ tenant, environment });
    const rows: KvRow[] = [];
    let revision = 0;
    let key = prefix;
    for (;;) {
      const page = await asService(
        this.#context.kv.range(
          {
            key,
            rangeEnd: prefixEnd(prefix),
            revision,
            limit: PAGE_KEYS,
            keysOnly: true,
            consistency: { type: 'linearizable' },
          },
          { principal: { type: 'service' }, signal: caller.signal },
        ),
      );
      if (revision === 0) revision = page.revision;
      rows.push(...page.rows);
      const last = page.rows.at(-1);
      if (!page.more || last === undefined) return { rows, revision };
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  /** Those whose plain value was not put together with their row, in the order of their keys. */
  #suspects(
    request: DriftRequest,
    { rows, revision }: { readonly rows: readonly KvRow[]; readonly revision: number },
  ): readonly ConfigurationName[] {
    const { state } = this.#context.projection;
    const seen = new Set<string>();
    const suspects: ConfigurationName[] = [];
    for (const row of rows) {
      const name = nameOfPlainKey(row.key);
      if (name === null || !isWithin(name, request) || !hasEnvironment(state, name.tenant, name.environment))
        continue;
      const entry = state.configurations.byId(configurationId(name));
      seen.add(configurationId(name));
      // What changed after the rows were read is another matter.
      if (entry !== undefined && entry.modRevision > revision) continue;
      if (entry === undefined || entry.isDeleted || entry.modRevision !== row.modRevision)
        suspects.push(name);
    }
    for (const entry of state.configurations.matching(request)) {
      if (!seen.has(entry.id) && entry.modRevision <= revision) suspects.push(nameOfEntry(entry));
    }
    return suspects.sort((left, right) => Buffer.compare(plainKey(left), plainKey(right)));
  }

  async #readPlain(caller: Caller, names: readonly ConfigurationName[]): Promise<readonly (KvRow | null)[]> {
    const success = names.map((name): KvOp => ({ type: 'range', key: plainKey(name) }));
    const answer = await asService(
      this.#context.kv.txn(
        { compare: [], success, failure: [] },
        { principal: { type: 'service' }, signal: caller.signal },
      ),
    );
    return answer.responses.map((response) =>
      response.type === 'range' ? (response.rows[0] ?? null) : null,
    );
  }

  /** Null = the plain value is what it should be. */
  #driftOf(name: ConfigurationName, row: KvRow | null): Drift | null {
    const stored = this.#presentOf(name);
    if (stored === null && row === null) return null;
    const expected = stored === null ? null : shown(stored.row.value);
    if (row === null) return { ...name, type: 'missing', expected, actual: null, modRevision: 0 };
    const json = jsonOf(row.value);
    if (stored !== null && isExpected(stored, { row, json })) return null;
    const isSecret = stored?.row.value.type === 'secret' || isEnvelope(json);
    const actual: ShownValue = isSecret
      ? { type: 'secret', json: MASK, isMasked: true }
      : { type: subtypeOf(json), json, isMasked: false };
    const type = stored === null ? 'unmanaged' : 'changed';
    return { ...name, type, expected, actual, modRevision: row.modRevision };
  }

  #adopted({
    name,
    row,
    at,
    meta,
  }: {
    readonly name: ConfigurationName;
    readonly row: KvRow | null;
    readonly at: number;
    readonly meta: ChangeMeta;
  }): readonly Edit[] {
    if (this.#driftOf(name, row) === null) return [];
    const before = storedOf(this.#context.projection.state, name);
    const field = `names/${at}/`;
    if (row === null) return [{ name, field, before, content: null }];
    const present = isLive(before, meta.atMs) && before !== null ? before : null;
    const content = present === null ? null : contentOf(this.#context, present.row, present.row.id);
    return [
      { name, field, before, content: this.#contentOf({ name, json: jsonOf(row.value), content, meta }) },
    ];
  }

  #contentOf({
    name,
    json,
    content,
    meta,
  }: {
    readonly name: ConfigurationName;
    readonly json: Json;
    readonly content: Content | null;
    readonly meta: ChangeMeta;
  }): Content {
    const at = { before: content, nowMs: meta.atMs };
    const { keyring } = this.#context;
    if (!isEnvelope(json) || keyring === null) return contentFrom(this.#context, { value: { json } }, at);
    const plain = keyring.open(json, configurationId(name));
    return contentFrom(this.#context, { value: { json: plain }, type: 'secret' }, at);
  }

  #reverted(name: ConfigurationName, row: KvRow | null): Plan<number> {
    if (this.#driftOf(name, row) === null) return { guards: [], ops: [], items: [], result: 0 };
    const key = plainKey(name);
    const stored = this.#presentOf(name);
    const id = configurationId(name);
    const common = { ...name, kind: 'configuration', id } as const;
    if (stored === null) {
      const item: ChangeItem = { ...common, type: 'deleted', before: 0, after: 0 };
      return { guards: [guardOf(name, row)], ops: [{ type: 'delete', key }], items: [item], result: 1 };
    }
    const { version, value } = stored.row;
    return {
      guards: [{ key: configurationKey(id), modRevision: stored.modRevision }, guardOf(name, row)],
      ops: [
        { type: 'put', key, value: valueBytes(value) },
        // Put together, so that they tell each other by their revisions again.
        { type: 'put', key: configurationKey(id), value: encodeConfiguration(stored.row) },
      ],
      items: [{ ...common, type: 'updated', before: version, after: version }],
      result: 1,
    };
  }

  /** Unless it was deleted; one that has expired stands until it is swept. */
  #presentOf(name: ConfigurationName): Stored<Configuration> | null {
    const stored = storedOf(this.#context.projection.state, name);
    return stored === null || stored.row.isDeleted ? null : stored;
  }
}

function joined(plans: readonly Plan<number>[]): Plan<number> {
  return {
    guards: plans.flatMap(({ guards }) => guards),
    ops: plans.flatMap(({ ops }) => ops),
    items: plans.flatMap(({ items }) => items),
    result: plans.reduce((sum, { result }) => sum + result, 0),
  };
}

function guardOf(name: ConfigurationName, row: KvRow | null): Guard {
  return { key: plainKey(name), modRevision: row?.modRevision ?? 0 };
}

function isExpected(
  { row: configuration, modRevision }: Stored<Configuration>,
  { row, json }: { readonly row: KvRow; readonly json: Json },
): boolean {
  if (row.modRevision === modRevision) return true;
  const { value } = configuration;
  if (value.type === 'secret') return row.value.equals(valueBytes(value));
  return sameJson(json, value.json);
}

/** What a plain client put: JSON, or else a text. */
function jsonOf(bytes: Buffer): Json {
  const text = bytes.toString();
  try {
    return parseJsonText(text);
  } catch (error) {
    if (!(error instanceof TextProblem)) throw error;
    return text;
  }
}

function isEnvelope(json: Json): json is Json & SealedValue {
  if (!isObject(json) || json['sealed'] !== 1) return false;
  return ['keyId', 'nonce', 'text'].every((field) => typeof json[field] === 'string');
}

/** Null for a key that is no plain key of a configuration. */
function nameOfPlainKey(key: Buffer): ConfigurationName | null {
  const [empty, tenant, environment, application, ...rest] = key.toString().split('/');
  if (empty !== '' || tenant === undefined || environment === undefined || application === undefined)
    return null;
  const name = { tenant, environment, application, key: rest.join('/') };
  try {
    checkName(name);
    return name;
  } catch {
    return null;
  }
}

function nameOfEntry({ tenant, environment, application, key }: ConfigurationEntry): ConfigurationName {
  return { tenant, environment, application, key };
}

function isWithin(name: ConfigurationName, { environment, application }: DriftRequest): boolean {
  return (
    (environment === undefined || name.environment === environment) &&
    (application === undefined || name.application === application)
  );
}
