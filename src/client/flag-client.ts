import { setMaxListeners } from 'node:events';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { affectedFlags, type DefinitionsByKey, flagsOfTime } from '../evaluation/affected.ts';
import type { Evaluation, EvaluationContext } from '../evaluation/evaluation.ts';
import type { Explanation } from '../evaluation/explain.ts';
import { compileFlags, type FlagSet } from '../evaluation/flag-set.ts';
import type { FlagDefinition, FlagType, Json, Segment } from '../evaluation/model.ts';
import type { Definitions } from '../rpc/generated/flags/v1/flags.ts';
import { Channels } from './channels.ts';
import { ClientError } from './client-error.ts';
import { TIMER_MS_MAX } from './clock.ts';
import type { ConfigScope } from './config-layers.ts';
import { parseEndpoint } from './endpoint.ts';
import { FlagCounts, tellCounts } from './flag-counts.ts';
import { followFlags, isFinal } from './flag-feed.ts';
import type { KvClientOptions } from './kv-client.ts';
import { LinkedSignal } from './linked-signal.ts';
import { tellAll } from './listeners.ts';
import { SignIn } from './sign-in.ts';

const TENANT_DEFAULT = 'default';
const TIMEOUT_MS_DEFAULT = 5_000;
const START_TIMEOUT_MS_DEFAULT = 5_000;
/** Between two times that the cluster is told how often flags answered what. */
const COUNTS_MS_DEFAULT = 30_000;
const COUNTS_MS_MIN = 100;
/** How long closing waits for the last of it. */
const CLOSE_MS_MAX = 1_000;
/** What changes by itself is told at most so often: a linear ramp changes all the time. */
const TIMED_UPDATES_MS_MIN = 10_000;
const NO_CONTEXT: EvaluationContext = Object.freeze({});

/** Whose flags are wanted, and from where. */
export interface FlagClientOptions
  extends Pick<KvClientOptions, 'endpoints' | 'tls' | 'login' | 'timeoutMs' | 'region'> {
  /** Default `default`. */
  readonly tenant?: string;
  /** In any spelling: `PROD`, `production`, or the name of one of your own. */
  readonly environment: string;
  readonly application: string;
  /** What every context has besides; its own attributes come first. Flags may be meant for one `service`. */
  readonly attributes?: EvaluationContext;
  /** How long `open` waits for the cluster; default 5000. */
  readonly startTimeoutMs?: number;
  /** What `open` does when the cluster does not answer in that time; default `throw`. */
  readonly whenAway?: 'throw' | 'start-empty';
  /**
   * Milliseconds between two times that the cluster is told how often flags answered what, for its reports; default
   * 30,000, at least 100, 0 = it is neither told nor counted. The last of it is told when the client is closed.
   */
  readonly countsMs?: number;
  /** Hears of what was got over, and of what no attempt gets over, such as a right that is missing. */
  readonly onProblem?: (error: unknown) => void;
  /** Gives up the opening, and closes the client. */
  readonly signal?: AbortSignal;
}

/** `empty`: there were never any flags; `live`: as the cluster has them; `stale`: as they were when it was last there. */
export type FlagClientState = 'empty' | 'live' | 'stale';

/** Flags that may answer otherwise than before: since they were changed, or since a time has come. */
export interface FlagUpdate {
  /** Of the store: everything acknowledged up to it is in. */
  readonly revision: number;
  /** Deleted ones included, and those that require what was changed; in order. */
  readonly keys: readonly string[];
}

/**
 * The flags of one application in one environment, kept up to date in memory: they are evaluated here, by the code that
 * the service evaluates them by, without asking anybody. While the cluster is away they are as they were. Nothing that is
 * evaluated throws; what has no value has the caller's default.
 */
export class FlagClient {
  readonly scope: ConfigScope;
  readonly #options: FlagClientOptions;
  readonly #channels: Channels;
  readonly #closing = new AbortController();
  readonly #onUpdate = new Set<(update: FlagUpdate) => void>();
  readonly #onState = new Set<(state: FlagClientState) => void>();
  #definitions: DefinitionsByKey = { flags: new Map(), segments: new Map() };
  #flags: FlagSet = compileFlags([]);
  #revision = 0;
  #state: FlagClientState = 'empty';
  #failure: unknown = null;
  #done: Promise<void> = Promise.resolve();
  readonly #signIn: SignIn;
  readonly #counts: FlagCounts | null;
  #timer: NodeJS.Timeout | undefined;
  #countsTimer: NodeJS.Timeout | undefined;
  #telling: Promise<void> = Promise.resolve();
  #closed: Promise<void> | null = null;

  private constructor(options: FlagClientOptions) {
    const { tenant = TENANT_DEFAULT, application, environment, endpoints, tls, region } = options;
    this.scope = { tenant, environment: canonicalEnvironment(environment), application };
    this.#options = options;
    const addresses = endpoints.map((text) => parseEndpoint(text, tls));
    this.#channels = new Channels(addresses, { region, leaderFirst: false });
    this.#signIn = new SignIn(this.#channels, options.login);
    this.#counts = options.countsMs === 0 ? null : new FlagCounts();
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * Opens a client with the flags of the cluster.
   *
   * @throws ClientError `invalid-argument` for an endpoint that is none, `canceled`; what kept it from the flags, at once
   *   where no other attempt would help, else after `startTimeoutMs` and unless `whenAway` says otherwise
   */
  static async open(options: FlagClientOptions): Promise<FlagClient> {
    const client = new FlagClient(options);
    try {
      await client.#start();
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  // ---- evaluation ---------------------------------------------------------------------------------------------

  /** What the flag answers, with variant and reason. @param type what the caller expects; absent = any */
  evaluate(key: string, context: EvaluationContext = NO_CONTEXT, type?: FlagType): Evaluation {
    const whole = this.#whole(context);
    const evaluation = this.#flags.evaluate(key, whole, { nowMs: Date.now(), type });
    this.#counts?.add(key, whole, evaluation);
    return evaluation;
  }

  boolean(key: string, fallback: boolean, context?: EvaluationContext): boolean {
    return (this.evaluate(key, context, 'boolean').value as boolean | undefined) ?? fallback;
  }

  string(key: string, fallback: string, context?: EvaluationContext): string {
    return (this.evaluate(key, context, 'string').value as string | undefined) ?? fallback;
  }

  number(key: string, fallback: number, context?: EvaluationContext): number {
    return (this.evaluate(key, context, 'number').value as number | undefined) ?? fallback;
  }

  /** An object or an array, not to be written to. */
  object(key: string, fallback: Json, context?: EvaluationContext): Json {
    return this.evaluate(key, context, 'object').value ?? fallback;
  }

  /** What the flag answers, with the way to it in words. */
  explain(key: string, context: EvaluationContext = NO_CONTEXT): Explanation {
    return this.#flags.explain(key, this.#whole(context), { nowMs: Date.now() });
  }

  /** Of all flags, those that cannot be evaluated included. */
  keys(): readonly string[] {
    return [...this.#flags.keys()];
  }

  // ---- what it is worth ---------------------------------------------------------------------------------------

  get state(): FlagClientState {
    return this.#state;
  }

  /** Everything acknowledged up to it is in; 0 as long as there are no flags. */
  get revision(): number {
    return this.#revision;
  }

  /** What keeps it from the cluster; null while it is there. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Hears of every change, after which evaluations answer it. @returns ends it */
  onUpdate(listener: (update: FlagUpdate) => void): () => void {
    this.#onUpdate.add(listener);
    return () => this.#onUpdate.delete(listener);
  }

  /** @returns ends it */
  onState(listener: (state: FlagClientState) => void): () => void {
    this.#onState.add(listener);
    return () => this.#onState.delete(listener);
  }

  /** Ends the connections. The flags that are there can still be evaluated. */
  async close(): Promise<void> {
    this.#closed ??= this.#close();
    await this.#closed;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    clearInterval(this.#countsTimer);
    if (this.#state === 'live') await this.#tellCounts(CLOSE_MS_MAX);
    this.#closing.abort();
    this.#channels.close();
    await this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- what is counted ----------------------------------------------------------------------------------------

  #countFromNow(): void {
    const { countsMs = COUNTS_MS_DEFAULT, timeoutMs = TIMEOUT_MS_DEFAULT } = this.#options;
    if (this.#counts === null || this.#countsTimer !== undefined || this.#closed !== null) return;
    const tell = (): void => void this.#tellCounts(timeoutMs);
    this.#countsTimer = setInterval(tell, Math.max(COUNTS_MS_MIN, countsMs));
    this.#countsTimer.unref();
  }

  /** One after the other; what does not arrive is lost. */
  #tellCounts(timeoutMs: number): Promise<void> {
    this.#telling = this.#telling.then(async () => {
      const counts = this.#counts?.take() ?? [];
      if (counts.length === 0) return;
      const call = { channels: this.#channels, signIn: this.#signIn };
      const signal = this.#closing.signal;
      try {
        await tellCounts(call, { scope: this.scope, counts, timeoutMs, signal });
      } catch (error) {
        // Older servers do not count, and say so; that is no problem of anybody's.
        if (error instanceof ClientError && error.code === 'unimplemented') clearInterval(this.#countsTimer);
        else if (!signal.aborted) this.#options.onProblem?.(error);
      }
    });
    return this.#telling;
  }

  // ---- the feed -----------------------------------------------------------------------------------------------

  async #start(): Promise<void> {
    const { startTimeoutMs = START_TIMEOUT_MS_DEFAULT, whenAway = 'throw', signal } = this.#options;
    signal?.addEventListener('abort', () => void this.close(), { once: true });
    using limit = new LinkedSignal([signal, this.#closing.signal], startTimeoutMs);
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        if (this.#state !== 'empty') return resolve();
        if (signal?.aborted === true) return reject(new ClientError('canceled', 'the opening was given up'));
        if (isFinal(this.#failure)) return reject(this.#failure);
        if (!limit.signal.aborted) return undefined;
        return whenAway === 'start-empty' ? resolve() : reject(this.#failure ?? limit.signal.reason);
      };
      limit.signal.addEventListener('abort', settle, { once: true });
      this.#done = this.#follow(settle);
      settle();
    });
  }

  async #follow(settle: () => void): Promise<void> {
    const { timeoutMs = TIMEOUT_MS_DEFAULT } = this.#options;
    await followFlags(
      { channels: this.#channels, signIn: this.#signIn },
      {
        request: this.scope,
        timeoutMs,
        signal: this.#closing.signal,
        listener: {
          definitions: (definitions) => {
            this.#take(definitions);
            settle();
          },
          lost: (error) => {
            this.#failure = error;
            this.#options.onProblem?.(error);
            if (this.#state === 'live') this.#become('stale');
            settle();
          },
        },
      },
    );
  }

  #take({ revision, document }: Definitions): void {
    const read = readDefinitions(document);
    const keys = changedKeys(this.#definitions, read);
    this.#definitions = read;
    this.#flags = compileFlags(read.flags.values(), read.segments.values());
    this.#revision = Number(revision);
    this.#failure = null;
    const wasEmpty = this.#state === 'empty';
    if (keys.length > 0 && !wasEmpty) tellAll(this.#onUpdate, { revision: this.#revision, keys });
    this.#become('live');
    this.#countFromNow();
    this.#waitForTime(Date.now());
  }

  /** Tells of what changes by itself after a moment. */
  #waitForTime(sinceMs: number, leastMs = 0): void {
    clearTimeout(this.#timer);
    const nextMs = this.#flags.nextChangeMs(sinceMs);
    if (nextMs === null || this.#closing.signal.aborted) return;
    const waitMs = Math.min(TIMER_MS_MAX, Math.max(leastMs, nextMs - Date.now(), 0));
    this.#timer = setTimeout(() => {
      // The timer may have been too short, or early.
      if (Date.now() < nextMs) return this.#waitForTime(sinceMs);
      const nowMs = Date.now();
      tellAll(this.#onUpdate, { revision: this.#revision, keys: flagsOfTime(this.#definitions) });
      this.#waitForTime(nowMs, TIMED_UPDATES_MS_MIN);
    }, waitMs);
    this.#timer.unref();
  }

  #become(state: FlagClientState): void {
    if (this.#state === state) return;
    this.#state = state;
    tellAll(this.#onState, state);
  }

  #whole(context: EvaluationContext): EvaluationContext {
    const { attributes } = this.#options;
    return attributes === undefined ? context : { ...attributes, ...context };
  }
}

function readDefinitions(document: string): DefinitionsByKey {
  const { flags, segments } = JSON.parse(document) as {
    readonly flags: readonly FlagDefinition[];
    readonly segments: readonly Segment[];
  };
  return {
    flags: new Map(flags.map((flag) => [flag.key, flag])),
    segments: new Map(segments.map((segment) => [segment.key, segment])),
  };
}

/** The flags that may answer otherwise, by what was and what is. */
function changedKeys(before: DefinitionsByKey, after: DefinitionsByKey): readonly string[] {
  const changed = {
    flags: differing(before.flags, after.flags),
    segments: differing(before.segments, after.segments),
  };
  return [...new Set([...affectedFlags(before, changed), ...affectedFlags(after, changed)])].sort();
}

function differing<Definition>(
  before: ReadonlyMap<string, Definition>,
  after: ReadonlyMap<string, Definition>,
): ReadonlySet<string> {
  const keys = new Set([...before.keys(), ...after.keys()]);
  return new Set(
    [...keys].filter((key) => JSON.stringify(before.get(key)) !== JSON.stringify(after.get(key))),
  );
}
