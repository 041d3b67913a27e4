import type { Caller } from '../caller.ts';
import { type ChangeMeta, type ChangeOptions, partKey } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import type { ConfigurationName, Json, Scope } from '../model.ts';
import { checkName, checkScope, Problems } from '../names.ts';
import { invalid } from '../service-error.ts';
import { bytesOf } from '../values/value-types.ts';
import { applyEdits, type WrittenItem } from './apply.ts';
import type { Edit } from './content.ts';
import { EDITS_MAX, isLive, storedOf } from './edits.ts';
import type { Finding } from './findings.ts';
import { editOf } from './requests.ts';

/** Values that are put into one application in one environment. */
export interface ImportRequest extends ChangeOptions {
  readonly scope: Scope;
  /** By key. Where there is a configuration, its type, schema and the rest stay; a secret stays one. */
  readonly values: ReadonlyMap<string, Json>;
  /** Keys of `values` that are secrets, whatever they were. */
  readonly secretKeys?: ReadonlySet<string> | undefined;
  /**
   * Also delete, afterwards, the scope's own configurations that are not among them; a repetition under the idempotency
   * key looks for them anew.
   */
  readonly deleteMissing?: boolean | undefined;
  /** Show what would be different, but change nothing. */
  readonly dryRun?: boolean | undefined;
  /** Hears how many keys are done, of how many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What an import did, or would do. */
export interface ImportAnswer {
  readonly revision: number;
  /** Of each transaction that changed something. */
  readonly changeIds: readonly string[];
  /** What was put, then what was deleted, each in the order of the keys. */
  readonly items: readonly WrittenItem[];
  readonly findings: readonly Finding[];
}

/** Keys of one import, deleted ones included. */
export const IMPORT_KEYS_MAX = 100_000;
/** What the values of one transaction may take as JSON; each is stored up to three times. A larger one goes alone. */
const CHUNK_BYTES_MAX = 256 * 1024;

/** One key of an import; undefined = it is deleted. */
interface ImportedKey {
  readonly name: ConfigurationName;
  readonly json: Json | undefined;
  readonly type: 'secret' | undefined;
}

/** The use case that puts many values at once. */
export class Importing {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /**
   * Everything is checked first; then it is put in transactions of up to 40 keys. When one of
   * them fails, the same request goes on where it stopped: what is the same already is left alone.
   *
   * @throws ServiceError `invalid` with the keys named, `conflict` by deployment rules
   */
  async import(caller: Caller, request: ImportRequest): Promise<ImportAnswer> {
    checkImport(request);
    await this.#context.projection.catchUp(caller.signal);
    await this.#context.access.check(caller, 'write', request.scope);
    const keys = this.#keys(request);
    if (keys.length > IMPORT_KEYS_MAX)
      throw invalid({ field: 'values', message: `are more than ${IMPORT_KEYS_MAX}` });
    const isPut = ({ json }: ImportedKey): boolean => json !== undefined;
    const chunks = [...chunksOf(keys.filter(isPut)), ...chunksOf(keys.filter((key) => !isPut(key)))];
    const tried = await this.#run(caller, { ...request, dryRun: true, onProgress: undefined }, chunks);
    return request.dryRun === true ? tried : this.#run(caller, request, chunks);
  }

  async #run(
    caller: Caller,
    request: ImportRequest,
    chunks: readonly (readonly ImportedKey[])[],
  ): Promise<ImportAnswer> {
    const { scope, reason, changeSet, idempotencyKey, dryRun, onProgress } = request;
    const total = chunks.reduce((sum, { length }) => sum + length, 0);
    let { revision } = this.#context.projection;
    const changeIds: string[] = [];
    const items: WrittenItem[] = [];
    const findings: Finding[] = [];
    let done = 0;
    for (const [at, chunk] of chunks.entries()) {
      const key = chunk[0]?.json === undefined ? null : partKey(idempotencyKey, at);
      const answer = await applyEdits(
        this.#context,
        caller,
        {
          operation: 'import',
          tenant: scope.tenant,
          options: { reason, changeSet, idempotencyKey: key },
          body: chunk,
          dryRun,
        },
        (meta) => chunk.flatMap((imported) => this.#edits(imported, meta)),
      );
      revision = Math.max(revision, answer.revision);
      if (answer.changeId !== null) changeIds.push(answer.changeId);
      items.push(...answer.items);
      findings.push(...answer.findings);
      done += chunk.length;
      onProgress?.(done, total);
    }
    return { revision, changeIds, items, findings };
  }

  #keys({ scope, values, secretKeys, deleteMissing }: ImportRequest): readonly ImportedKey[] {
    const { tenant, environment, application } = scope;
    const keys = new Map<string, Json | undefined>(values);
    if (deleteMissing === true) {
      const nowMs = this.#context.clock.nowMs();
      for (const entry of this.#context.projection.state.configurations.scope(scope)) {
        if (entry.isLive(nowMs) && !keys.has(entry.key)) keys.set(entry.key, undefined);
      }
    }
    return [...keys]
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([key, json]) => ({
        name: { tenant, environment, application, key },
        json,
        type: secretKeys?.has(key) === true ? 'secret' : undefined,
      }));
  }

  #edits({ name, json, type }: ImportedKey, meta: ChangeMeta): readonly Edit[] {
    const field = `values/${name.key}/`;
    if (json !== undefined)
      return [editOf(this.#context, meta, { action: 'put', name, field, value: { json }, type })];
    const before = storedOf(this.#context.projection.state, name);
    return isLive(before, meta.atMs) ? [{ name, field, before, content: null }] : [];
  }
}

function checkImport({ scope, values }: ImportRequest): void {
  checkScope(scope);
  const problems = new Problems();
  for (const key of values.keys()) problems.gather(`values/${key}/`, () => checkName({ ...scope, key }));
  problems.check();
}

/** The same keys and values make the same chunks, so that a repetition finds its idempotency keys. */
function chunksOf(keys: readonly ImportedKey[]): readonly (readonly ImportedKey[])[] {
  const chunks: ImportedKey[][] = [];
  let bytes = 0;
  for (const imported of keys) {
    const size = imported.json === undefined ? 0 : bytesOf(imported.json);
    const chunk = chunks.at(-1);
    if (chunk === undefined || chunk.length === EDITS_MAX || bytes + size > CHUNK_BYTES_MAX) {
      chunks.push([imported]);
      bytes = size;
    } else {
      chunk.push(imported);
      bytes += size;
    }
  }
  return chunks;
}
