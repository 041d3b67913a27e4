import { setMaxListeners } from 'node:events';
import type { Attendant, Channels, ConnectedRoute } from './channels.ts';
import { ClientError } from './client-error.ts';
import { TIMER_MS_MAX } from './clock.ts';
import { Connection } from './connection.ts';
import { type ClientTls, type EndpointAddress, isOfThisMachine, parseEndpoint } from './endpoint.ts';
import { type Identity, identityAt } from './identity.ts';
import type { RouteFacts } from './routes.ts';
import type { SignIn } from './sign-in.ts';
import type { MemberEntry } from './types.ts';
import { METHODS, memberEntry, statusAnswer } from './wire.ts';

/** How often members are looked at; its default. */
export const SURVEY_INTERVAL_MS = 30_000;
/** After a failure it is done sooner; but no two begin within this time. */
const SURVEY_PAUSE_MS = 1000;
/** How long a member may take to answer. */
const ANSWER_TIMEOUT_MS = 2000;
/** Round trips of one member that are kept; the shortest counts. */
const SAMPLES_MAX = 4;
/** Members that are taken note of, of those that the cluster names. */
export const MEMBERS_MAX = 64;

/** What is looked at, and how. */
export interface SurveyOptions {
  readonly channels: Channels;
  readonly signIn: SignIn;
  /** Whether endpoints that the cluster names are used, too. */
  readonly discovery: boolean;
  readonly intervalMs: number;
  readonly tls: ClientTls | undefined;
}

/**
 * Looks at every endpoint from time to time, and soon after one failed: who is there, which region it is in, whether it
 * leads, how far away it is. With discovery it also asks the cluster for its members, and adds those that answer at a
 * client URL of theirs as the member that they are said to be: a URL that means something else from here, or nothing,
 * is never used. Where calls show a token, whoever is there has to say who he is before he is shown it. It begins with
 * the first call and keeps no process alive.
 */
export class Survey implements Attendant {
  readonly #options: SurveyOptions;
  readonly #samples = new WeakMap<Connection, number[]>();
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | null = null;
  /** When the timer is due, on the clock of `performance.now()`; Infinity when none is set. */
  #dueMs = Number.POSITIVE_INFINITY;
  #isBegun = false;
  #isRunning = false;
  #isWanted = false;

  constructor(options: SurveyOptions) {
    this.#options = options;
    // As many wait for it as there are endpoints.
    setMaxListeners(0, this.#closing.signal);
    options.channels.attend(this);
  }

  used(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    void this.#run();
  }

  failed(): void {
    if (this.#isRunning) this.#isWanted = true;
    else if (this.#isBegun) this.#in(SURVEY_PAUSE_MS);
  }

  close(): void {
    this.#closing.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Looks after this time, or when it is due already if that is sooner. */
  #in(delayMs: number): void {
    const dueMs = performance.now() + delayMs;
    if (this.#closing.signal.aborted || dueMs >= this.#dueMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => void this.#run(), Math.min(delayMs, TIMER_MS_MAX)).unref();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    this.#isWanted = false;
    this.#dueMs = Number.POSITIVE_INFINITY;
    try {
      await this.#look();
    } finally {
      this.#isRunning = false;
      // Clients that were started together do not all ask at once.
      const { intervalMs } = this.#options;
      this.#in(this.#isWanted ? SURVEY_PAUSE_MS : intervalMs * (0.9 + Math.random() * 0.2));
    }
  }

  async #look(): Promise<void> {
    const { channels, discovery } = this.#options;
    await Promise.all(channels.routes.map((route) => this.#visit(route)));
    if (discovery) await this.#discover();
    if (!this.#closing.signal.aborted) channels.surveyed();
  }

  /** Notes what the member says of itself; what it says nothing of stays as it was. */
  async #visit(route: ConnectedRoute): Promise<void> {
    const failedAt = route.failedAt;
    const facts = await this.#ask(route.connection);
    if (facts === null) return;
    if (!route.isGiven && !isSame(facts, route.facts!)) return this.#options.channels.remove(route);
    route.facts = facts;
    // It is there again, unless a call has failed meanwhile.
    if (route.failedAt === failedAt && facts.isServing) route.failedAt = 0;
  }

  async #ask(connection: Connection): Promise<(RouteFacts & { readonly isServing: boolean }) | null> {
    const deadlineMs = Date.now() + ANSWER_TIMEOUT_MS;
    const { signal } = this.#closing;
    try {
      return await this.#options.signIn.with({ timeoutMs: ANSWER_TIMEOUT_MS, signal }, async ({ token }) => {
        await connection.ready({ deadlineMs, signal });
        const askedMs = performance.now();
        const message = await connection.unary(METHODS.status, {}, { deadlineMs, signal, token });
        const roundTripMs = this.#shortest(connection, performance.now() - askedMs);
        const { header, leader, region = '', isLearner } = statusAnswer(message);
        const { memberId, clusterId } = header;
        const isLeader = leader === memberId;
        return { memberId, clusterId, region, isLearner, isLeader, roundTripMs, isServing: leader !== 0n };
      });
    } catch (error) {
      if (error instanceof ClientError) return null;
      throw error;
    }
  }

  #shortest(connection: Connection, roundTripMs: number): number {
    const samples = [...(this.#samples.get(connection) ?? []), roundTripMs].slice(-SAMPLES_MAX);
    this.#samples.set(connection, samples);
    return Math.min(...samples);
  }

  async #discover(): Promise<void> {
    const found = await this.#members();
    if (found === null) return;
    const { channels } = this.#options;
    for (const route of channels.routes) {
      if (!route.isGiven && !this.#isOfUse(route, found.members)) channels.remove(route);
    }
    await Promise.all(found.members.map((member) => this.#admit(member, found.clusterId)));
  }

  /** Whether a found endpoint is one of a member's still, and not one that the user has named, too. */
  #isOfUse(route: ConnectedRoute, members: readonly MemberEntry[]): boolean {
    const isMember = members.some(({ id }) => id === route.facts?.memberId);
    const isNamed = this.#options.channels.routes.some(
      (other) => other.isGiven && other.facts?.memberId === route.facts?.memberId,
    );
    return isMember && !isNamed;
  }

  async #members(): Promise<{ readonly clusterId: bigint; readonly members: readonly MemberEntry[] } | null> {
    const { channels, signIn } = this.#options;
    const limits = { timeoutMs: ANSWER_TIMEOUT_MS, signal: this.#closing.signal };
    try {
      return await signIn.with(limits, async (shown) => {
        const request = { linearizable: false };
        const call = { ...limits, ...shown, kind: 'local' } as const;
        const answer = await channels.unary(METHODS.memberList, request, call);
        const members = answer.members.slice(0, MEMBERS_MAX).map(memberEntry);
        return { clusterId: BigInt(answer.header?.cluster_id ?? 0), members };
      });
    } catch (error) {
      if (error instanceof ClientError) return null;
      throw error;
    }
  }

  /** Adds a member that is not among the endpoints, by the first of its URLs at which it answers. */
  async #admit({ id, clientUrls }: MemberEntry, clusterId: bigint): Promise<void> {
    const { channels } = this.#options;
    const wanted = { memberId: id, clusterId };
    if (channels.routes.some(({ facts }) => facts?.memberId === id)) return;
    for (const endpoint of clientUrls.flatMap((url) => this.#usable(url))) {
      if (channels.addresses.includes(endpoint.address)) continue;
      const connection = new Connection(endpoint);
      const facts = (await this.#maySee(connection, wanted)) ? await this.#ask(connection) : null;
      if (facts !== null && isSame(facts, wanted) && !this.#closing.signal.aborted) {
        channels.add(connection).facts = facts;
        return;
      }
      connection.close();
    }
  }

  /** Whether what calls show may be shown there: it is the member, as far as that can be asked without. */
  async #maySee(connection: Connection, wanted: Identity): Promise<boolean> {
    if (!this.#options.signIn.hasLogin) return true;
    const limits = { timeoutMs: ANSWER_TIMEOUT_MS, signal: this.#closing.signal };
    try {
      return isSame(await identityAt(connection, limits), wanted);
    } catch (error) {
      if (error instanceof ClientError) return false;
      throw error;
    }
  }

  /**
   * What was encrypted so far is not said in plain text because a member says so. Nor is a member of another machine
   * looked for on this one, where anybody may listen.
   */
  #usable(url: string): readonly EndpointAddress[] {
    const { channels, tls } = this.#options;
    try {
      const endpoint = parseEndpoint(url, tls);
      const isEncrypted = channels.routes.some(({ connection }) => connection.isEncrypted);
      if (endpoint.tls === null && isEncrypted) return [];
      const isProven = endpoint.tls !== null && endpoint.tls.insecureSkipVerify !== true;
      const isHere = channels.routes.every((route) => !route.isGiven || isOfThisMachine(route.address));
      return isProven || isHere || !isOfThisMachine(endpoint.address) ? [endpoint] : [];
    } catch (error) {
      if (error instanceof ClientError) return [];
      throw error;
    }
  }
}

function isSame(one: Identity, other: Identity): boolean {
  return one.memberId === other.memberId && one.clusterId === other.clusterId;
}
