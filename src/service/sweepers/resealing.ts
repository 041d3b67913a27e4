import type { Kv, KvCall, KvCompare, KvOp, KvRow } from '../../kv/kv.ts';
import type { Logger } from '../../lib/logger.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import { compareOf, type Guard } from '../commit.ts';
import type { ConfigurationEntry } from '../configuration-index.ts';
import type { ServiceContext } from '../context.ts';
import { configurationKey, PREFIXES, plainKey, RESEALING_KEY, versionKey } from '../keyspace.ts';
import type { StoredValue } from '../model.ts';
import { decodeVersion, encodeConfiguration, encodeVersion, RowError, valueBytes } from '../rows.ts';
import type { Keyring } from '../secrets/keyring.ts';
import { ServiceError } from '../service-error.ts';
import { decodeResealing, encodeResealing, type StoredResealing } from './resealing-row.ts';
import { type HeldLock, underLock } from './sweep-lock.ts';

/** Keys of versions that are read at a time. */
const PAGE_KEYS = 1_000;
/** Versions that are read together: some 11 MiB when all are as large as may be. */
const VERSIONS_AT_ONCE = 16;
/** Between two looks at everything, once all was well. */
const WHOLE_MS = 3_600_000;

/** How far the secrets are sealed under the key that seals here. */
export interface ResealingStatus {
  /** Null = there are no keys. */
  readonly keyId: string | null;
  /** Secrets, deleted ones included, whose present version another key sealed. */
  readonly waiting: number;
  /** Configurations and versions that this server sealed anew since its start. */
  readonly resealed: number;
  /** Those of the last look that could not be opened: their key is not there, or they were changed. */
  readonly unopened: number;
  /** Since its start this server saw everything that opens sealed under its key: it needs the others no more. */
  readonly isDone: boolean;
}

/**
 * Seals every secret anew that another key than the first one sealed: configurations with their plain values, and all
 * their versions. Nobody sees a change of value in that: there is no version, record or event of it, and the revisions of
 * versions stay. The revision of the configuration's row, which is its entity tag, moves on.
 */
export class Resealer {
  readonly #context: ServiceContext;
  readonly #logger: Logger;
  readonly #startedMs: number;
  #resealed = 0;
  #unopened = new Set<string>();
  #wholeMs: number | null = null;

  constructor(context: ServiceContext, { logger }: { readonly logger: Logger }) {
    this.#context = context;
    this.#logger = logger;
    this.#startedMs = context.clock.nowMs();
  }

  get status(): ResealingStatus {
    const { keyring } = this.#context;
    const waiting = keyring === null ? [] : this.#waiting(keyring);
    const isLeft = waiting.some(({ id }) => !this.#unopened.has(id));
    return {
      keyId: keyring?.keyId ?? null,
      waiting: waiting.length,
      resealed: this.#resealed,
      unopened: this.#unopened.size,
      isDone: keyring === null || keyring.size === 1 || (this.#wholeMs !== null && !isLeft),
    };
  }

  /**
   * Seals what there is to seal, if there is anything, or if it was long ago that this server looked.
   *
   * @returns how many configurations and versions; 0 also while another server does it
   * @throws KvError, ServiceError
   */
  async sweep(signal: AbortSignal): Promise<number> {
    const { keyring, kv } = this.#context;
    if (keyring === null || keyring.size === 1 || !this.#isDue(keyring)) return 0;
    const before = this.#resealed;
    await underLock(kv, { name: 'resealing', signal }, async (lock) => {
      await new Pass({ context: this.#context, keyring, lock, signal }, this.#startedMs, {
        resealed: () => {
          this.#resealed += 1;
        },
        done: (unopened) => {
          this.#unopened = new Set(unopened);
          this.#wholeMs = this.#context.clock.nowMs();
        },
      }).run();
    });
    const count = this.#resealed - before;
    const { waiting, unopened, isDone } = this.status;
    if (count > 0 || unopened > 0)
      this.#logger.info(
        { keyId: keyring.keyId, count, waiting, unopened, isDone },
        'secrets were sealed anew',
      );
    return count;
  }

  /** What could not be opened waits for the next look at everything. */
  #isDue(keyring: Keyring): boolean {
    const nowMs = this.#context.clock.nowMs();
    if (this.#wholeMs === null || nowMs - this.#wholeMs >= WHOLE_MS) return true;
    return this.#waiting(keyring).some(({ id }) => !this.#unopened.has(id));
  }

  #waiting({ keyId }: Keyring): readonly ConfigurationEntry[] {
    return this.#context.projection.state.configurations.sealedByOthers(keyId);
  }
}

interface PassOptions {
  readonly context: ServiceContext;
  readonly keyring: Keyring;
  readonly lock: HeldLock;
  readonly signal: AbortSignal;
}

/** What a pass tells. */
interface PassListener {
  resealed(): void;
  /** It went through everything; these could not be opened. */
  done(unopened: Iterable<string>): void;
}

/** One look at everything that was put since the last one, under the lock. */
class Pass {
  readonly #context: ServiceContext;
  readonly #kv: Kv;
  readonly #keyring: Keyring;
  readonly #lock: HeldLock;
  readonly #call: KvCall;
  readonly #startedMs: number;
  readonly #listener: PassListener;
  readonly #unopened = new Set<string>();
  /** Others came first: the next pass looks again. */
  #isLost = false;

  constructor({ context, keyring, lock, signal }: PassOptions, startedMs: number, listener: PassListener) {
    this.#context = context;
    this.#kv = context.kv;
    this.#keyring = keyring;
    this.#lock = lock;
    this.#call = { principal: { type: 'service' }, signal };
    this.#startedMs = startedMs;
    this.#listener = listener;
  }

  async run(): Promise<void> {
    const begun = await this.#begin();
    if (begun === null) return;
    const { stored, revision } = begun;
    await this.#context.projection.catchUp(this.#call.signal);
    for (const entry of this.#context.projection.state.configurations.sealedByOthers(this.#keyring.keyId)) {
      await this.#resealConfiguration(entry);
    }
    await this.#resealVersions(stored.revision);
    if (this.#isLost) return;
    const keyId = this.#keyring.keyId;
    const done = { keyId, startedMs: stored.startedMs, revision };
    if (await this.#putMark(done, stored.modRevision)) this.#listener.done(this.#unopened);
  }

  /** @returns null when a server that started later wants another key */
  async #begin(): Promise<{ readonly stored: StoredResealing; readonly revision: number } | null> {
    const { rows, revision } = await this.#kv.range(
      { key: RESEALING_KEY, consistency: { type: 'linearizable' } },
      this.#call,
    );
    const stored = decodeResealing(rows[0]);
    const { keyId } = this.#keyring;
    if (stored.keyId === keyId) return { stored, revision };
    if (stored.startedMs > this.#startedMs) return null;
    const wanted = { keyId, startedMs: this.#startedMs, revision: 0 };
    const modRevision = await this.#putMark(wanted, stored.modRevision);
    return modRevision === null ? null : { stored: { ...wanted, modRevision }, revision };
  }

  /** @returns its revision; null when the lock was lost */
  async #putMark(
    mark: { readonly keyId: string; readonly startedMs: number; readonly revision: number },
    modRevision: number,
  ): Promise<number | null> {
    const put: KvOp = { type: 'put', key: RESEALING_KEY, value: encodeResealing(mark) };
    const answer = await this.#kv.txn(
      { compare: this.#guards({ key: RESEALING_KEY, modRevision }), success: [put], failure: [] },
      this.#call,
    );
    return answer.succeeded ? answer.revision : null;
  }

  /** Its row, its present version, and its plain value unless that has drifted: together, so that they fit each other. */
  async #resealConfiguration(entry: ConfigurationEntry): Promise<void> {
    const row = entry.read();
    const value = this.#resealedValue(row.value, row.id);
    if (value === null) return;
    const [plain, version] = await this.#read([plainKey(row), versionKey(row.id, row.version)]);
    const guards: Guard[] = [{ key: configurationKey(row.id), modRevision: entry.modRevision }];
    const ops: KvOp[] = [
      { type: 'put', key: configurationKey(row.id), value: encodeConfiguration({ ...row, value }) },
    ];
    if (plain !== undefined && !row.isDeleted && plain.value.equals(valueBytes(row.value))) {
      guards.push({ key: plain.key, modRevision: plain.modRevision });
      ops.push({ type: 'put', key: plain.key, value: valueBytes(value) });
    }
    if (version !== undefined) {
      guards.push({ key: version.key, modRevision: version.modRevision });
      const same = readable(version);
      if (same !== null)
        ops.push({ type: 'put', key: version.key, value: encodeVersion({ ...same, value }) });
    }
    await this.#put(guards, ops);
  }

  /** All versions that were put after a revision. */
  async #resealVersions(after: number): Promise<void> {
    const rangeEnd = prefixEnd(Buffer.from(PREFIXES.version));
    let key = Buffer.from(PREFIXES.version);
    for (;;) {
      if (!(await this.#lock.renew())) {
        this.#isLost = true;
        return;
      }
      const page = await this.#kv.range(
        { key, rangeEnd, limit: PAGE_KEYS, keysOnly: true, consistency: { type: 'linearizable' } },
        this.#call,
      );
      const younger = page.rows.filter(({ modRevision }) => modRevision > after);
      for (let at = 0; at < younger.length; at += VERSIONS_AT_ONCE) {
        const keys = younger.slice(at, at + VERSIONS_AT_ONCE).map((row) => row.key);
        for (const row of await this.#read(keys)) if (row !== undefined) await this.#resealVersion(row);
      }
      const last = page.rows.at(-1);
      if (!page.more || last === undefined) return;
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  async #resealVersion(row: KvRow): Promise<void> {
    const version = readable(row);
    if (version === null) return;
    const value = this.#resealedValue(version.value, version.configurationId);
    if (value === null) return;
    await this.#put(
      [{ key: row.key, modRevision: row.modRevision }],
      [{ type: 'put', key: row.key, value: encodeVersion({ ...version, value }) }],
    );
  }

  /** Null = it is sealed as it should be, is no secret, or cannot be opened. */
  #resealedValue(value: StoredValue, configurationId: string): StoredValue | null {
    if (value.type !== 'secret' || !this.#keyring.needsResealing(value.sealed)) return null;
    try {
      const json = this.#keyring.open(value.sealed, configurationId);
      return { type: 'secret', sealed: this.#keyring.seal(json, configurationId) };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      this.#unopened.add(configurationId);
      return null;
    }
  }

  async #read(keys: readonly Buffer[]): Promise<readonly (KvRow | undefined)[]> {
    const success = keys.map((key): KvOp => ({ type: 'range', key }));
    const { responses } = await this.#kv.txn({ compare: [], success, failure: [] }, this.#call);
    return responses.map((response) => (response.type === 'range' ? response.rows[0] : undefined));
  }

  async #put(guards: readonly Guard[], success: readonly KvOp[]): Promise<void> {
    const compare = this.#guards(...guards);
    const { succeeded } = await this.#kv.txn({ compare, success, failure: [] }, this.#call);
    if (succeeded) this.#listener.resealed();
    else this.#isLost = true;
  }

  #guards(...guards: readonly Guard[]): readonly KvCompare[] {
    return [this.#lock.guard, ...guards].map(compareOf);
  }
}

function readable(row: KvRow): ReturnType<typeof decodeVersion> | null {
  try {
    return decodeVersion(row.value);
  } catch (error) {
    if (error instanceof RowError) return null;
    throw error;
  }
}
