import { setTimeout as delay } from 'node:timers/promises';
import { Prng } from '../core/raft/prng.ts';

/** Everything the workload changes is here. */
export const SCOPE = { application: 'pay', environment: 'development' } as const;
/** Few keys, so that clients meet on them. */
export const KEYS: readonly string[] = Array.from({ length: 6 }, (_, at) => `k${at}`);
/** A request without an answer by then has an unknown outcome. */
const REQUEST_MS = 3_000;
/** The load: how long a client rests between two requests. */
const REST_MS = 10;

/** A request for a change that has its final answer. Instants count what happened in this process, in its order. */
export interface ServiceWrite {
  readonly user: string;
  readonly idempotencyKey: string;
  readonly action: 'put' | 'delete';
  readonly keys: readonly string[];
  readonly value: string;
  readonly began: number;
  readonly ended: number;
  /** Requests that were sent for it, all under its idempotency key. */
  readonly attempts: number;
  /** Null = it was refused: nothing is there to delete. */
  readonly done: { readonly revision: number; readonly versions: ReadonlyMap<string, number> } | null;
}

/** A strong read with its answer. */
export interface ServiceRead {
  readonly member: string;
  readonly key: string;
  readonly began: number;
  readonly ended: number;
  /** Null = nothing holds. */
  readonly held: { readonly version: number; readonly value: unknown } | null;
}

type Pending = Pick<ServiceWrite, 'user' | 'idempotencyKey' | 'action' | 'keys' | 'value'>;

interface WriteBody {
  readonly revision: number;
  readonly items: readonly { readonly after: { readonly key: string; readonly version: number } }[];
}

/**
 * Clients of the REST face, each at all members in turn: half of them change configurations and send a change again, under
 * its idempotency key, until they know what became of it; the others read. What they do follows the seed.
 */
export class ServiceWorkload {
  readonly writes: ServiceWrite[] = [];
  readonly reads: ServiceRead[] = [];
  /** Answers that nothing explains. */
  readonly surprises: string[] = [];
  /** Requests that were answered by a failure, or not at all. */
  failures = 0;
  readonly #urls: readonly string[];
  readonly #seed: number;
  #instant = 0;
  #isRunning = true;
  #isAbandoned = false;
  #loops: readonly Promise<void>[] = [];
  #waiters: { since: number; left: number; readonly resolve: () => void }[] = [];

  constructor({ urls, seed }: { readonly urls: readonly string[]; readonly seed: number }) {
    this.#urls = urls;
    this.#seed = seed;
  }

  start(clients: number): void {
    this.#loops = Array.from({ length: clients }, async (_, id) => {
      const random = new Prng(this.#seed * 1_000 + id);
      let n = 0;
      while (this.#isRunning) {
        n += 1;
        if (id % 2 === 0) await this.#write(this.#next(`w${id}`, n, random), random);
        else await this.#read(random);
        await delay(REST_MS);
      }
    });
  }

  /** Resolves once `count` changes that began after this call were made. */
  acknowledgements(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ since: this.#instant, left: count, resolve });
    });
  }

  /** Resolves when every change has its final answer. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await Promise.all(this.#loops);
  }

  /** As `stop`, and whoever still asks gives up. */
  async abandon(): Promise<void> {
    this.#isAbandoned = true;
    await this.stop();
  }

  #next(user: string, n: number, random: Prng): Pending {
    const name = `${user}-${n}`;
    const first = random.below(KEYS.length);
    const action = random.chance(15) ? 'delete' : 'put';
    const both = [KEYS[first]!, KEYS[(first + 1 + random.below(KEYS.length - 1)) % KEYS.length]!];
    const keys = action === 'put' && random.chance(40) ? both : both.slice(0, 1);
    return { user, idempotencyKey: name, action, keys, value: name };
  }

  async #write(pending: Pending, random: Prng): Promise<void> {
    const { user, idempotencyKey, action, keys, value } = pending;
    const began = this.#tick();
    const body = JSON.stringify({
      items: keys.map((key) => ({
        action,
        ...SCOPE,
        key,
        ...(action === 'put' && { value, type: 'string' }),
      })),
    });
    for (let attempts = 1; !this.#isAbandoned; attempts += 1) {
      const answer = await this.#ask(random.pick(this.#urls), '/api/v1/bulk', {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-conclave-user': user,
          'idempotency-key': idempotencyKey,
        },
        body,
      });
      const isRefused = answer?.status === 404 && action === 'delete';
      if (answer === null || !(answer.status === 200 || isRefused)) {
        await delay(REST_MS);
        continue;
      }
      const { revision, items } = answer.body as WriteBody;
      const versions = (): Map<string, number> =>
        new Map(items.map(({ after }) => [after.key, after.version]));
      const done = isRefused ? null : { revision, versions: versions() };
      this.writes.push({ ...pending, began, ended: this.#tick(), attempts, done });
      if (done !== null) this.#acknowledged(began);
      return;
    }
  }

  async #read(random: Prng): Promise<void> {
    const [key, url] = [random.pick(KEYS), random.pick(this.#urls)];
    const began = this.#tick();
    const query = new URLSearchParams({ ...SCOPE, key });
    const answer = await this.#ask(url, `/api/v1/lookup?${query.toString()}`, {});
    if (answer === null) return;
    const ended = this.#tick();
    const { version, value } = answer.body as { readonly version: number; readonly value: unknown };
    const held = answer.status === 404 ? null : { version, value };
    this.reads.push({ member: url, key, began, ended, held });
  }

  /** @returns null when it failed; of the others, those that are no surprise */
  async #ask(
    url: string,
    path: string,
    init: RequestInit,
  ): Promise<{ readonly status: number; readonly body: unknown } | null> {
    try {
      const response = await fetch(`${url}${path}`, { ...init, signal: AbortSignal.timeout(REQUEST_MS) });
      const body: unknown = await response.json();
      const { status } = response;
      if (status === 200 || status === 404) return { status, body };
      if (status < 500 && status !== 429) this.surprises.push(`${path}: ${status} ${JSON.stringify(body)}`);
    } catch {
      // Nobody listens, the answer broke off, or it did not come in time.
    }
    this.failures += 1;
    return null;
  }

  #tick(): number {
    this.#instant += 1;
    return this.#instant;
  }

  #acknowledged(began: number): void {
    for (const waiter of this.#waiters) {
      if (began < waiter.since) continue;
      waiter.left -= 1;
      if (waiter.left === 0) waiter.resolve();
    }
    this.#waiters = this.#waiters.filter(({ left }) => left > 0);
  }
}
