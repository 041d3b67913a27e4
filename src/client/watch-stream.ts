import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { WatchRequest, WatchResponse } from '../rpc/generated/etcdserverpb/rpc.ts';
import type { Channels } from './channels.ts';
import { asClientError, ClientError } from './client-error.ts';
import { WholeRevisions } from './fragments.ts';
import { LinkedSignal } from './linked-signal.ts';
import { type Backoff, backoffMs, pause } from './pause.ts';
import type { SignIn } from './sign-in.ts';
import type { ResponseHeader, WatchEvent, WatchOptions } from './types.ts';
import { header, METHODS, progressRequest, watchCancellation, watchEvent, watchRequest } from './wire.ts';

/** Failures in a row, without one answer between them, after which a watch gives up; its default. */
export const FAILURES_MAX = 30;
const RETRY_PAUSE: Backoff = { firstMs: 100, longestMs: 2000 };

/** What may heal on another member, or on this one later. A deadline is the sign-in's: streams have none. */
const HEALING: ReadonlySet<string> = new Set([
  'unavailable',
  'internal',
  'canceled',
  'unknown',
  'deadline-exceeded',
]);

function heals(error: unknown): boolean {
  return error instanceof ClientError && HEALING.has(error.code);
}

/** What a watch goes over, again and again. */
export interface WatchConnection {
  readonly channels: Pick<Channels, 'duplex' | 'fail' | 'isAway' | 'onSurvey'>;
  readonly signIn: Pick<SignIn, 'token' | 'forget' | 'isStale'>;
  /** How long signing in may take. */
  readonly timeoutMs: number;
  /** Ends the watch, without an error: its client is closed. */
  readonly closing: AbortSignal;
}

/** A watch, and how long it goes on trying. */
export interface WatchStreamOptions extends WatchOptions {
  /** Failures in a row after which the watch gives up; default 30, which is about a minute. Infinity = never. */
  readonly failuresMax?: number;
}

/** What happens to a watch, in order. */
export type WatchStreamItem =
  /** A member took the watch, the first time or after a loss; it tells everything from `next` on. */
  | {
      readonly type: 'created';
      readonly header: ResponseHeader;
      /** `host:port` of the member. */
      readonly address: string;
      /** The first revision that is still to be told. */
      readonly next: number;
    }
  /** Whole revisions: all of the range up to the last event has been told. */
  | { readonly type: 'events'; readonly header: ResponseHeader; readonly events: readonly WatchEvent[] }
  /** Everything of the range up to `header.revision` has been told. */
  | {
      readonly type: 'progress';
      readonly header: ResponseHeader;
      /** Of the request that this answers; 0 when nobody asked, and always on a member that knows no nonces. */
      readonly nonce: number;
      /**
       * The member proved that at this moment it knew of everything acknowledged more than so many ms before.
       * Undefined = unknown: so it is whenever `nonce` is 0.
       */
      readonly ageMs: number | undefined;
    }
  /**
   * The stream is gone; what was asked on it stays unanswered. The watch tries the next member by itself: `created`
   * follows, or another `lost`, or the iteration throws.
   */
  | { readonly type: 'lost'; readonly error: ClientError; readonly address: string | null };

/** A watch that goes on over lost streams and members. It is iterated once, by one loop. */
export interface WatchStreamHandle extends AsyncIterable<WatchStreamItem> {
  /**
   * Asks the member how far the watch is: a `progress` with this nonce follows in its place among the events, as soon
   * as the member can prove an age. With `linearizable` it covers everything acknowledged before the member took the
   * request.
   *
   * @param request `nonce` from 1 to 2^53 - 1
   * @returns false when there is no stream now, and nothing was asked
   */
  requestProgress(request: { readonly nonce: number; readonly linearizable?: boolean }): boolean;
  /** Leaves the present stream, if there is one, for another member; told as `lost`. */
  move(): void;
  /** Ends the iteration, without an error. */
  close(): void;
  [Symbol.dispose](): void;
}

/**
 * Watches a range over any number of lost connections and members: after each loss it goes on behind what was told.
 * Nothing is sent before the iteration begins. The iteration throws ClientError `out-of-range` with `compactRevision`
 * when history from its position on is gone, `not-found` when the watch's lease has ended, `unavailable` after too many
 * failures in a row, and what the server says otherwise.
 */
export function openWatchStream(connection: WatchConnection, options: WatchStreamOptions): WatchStreamHandle {
  return new WatchStream(connection, options);
}

type Stream = ClientDuplexStream<Partial<WatchRequest>, WatchResponse>;

class WatchStream implements WatchStreamHandle {
  readonly #connection: WatchConnection;
  readonly #options: WatchStreamOptions;
  readonly #closing = new AbortController();
  readonly #link: LinkedSignal;
  readonly #signal: AbortSignal;
  /** Set while a stream carries the watch. */
  #stream: Stream | null = null;
  #address: string | null = null;
  /** The first revision not told yet; 0 until the server has said which one that is. */
  #next: number;
  #failures = 0;
  /** It leaves a member that did nothing wrong. */
  #isGoingHome = false;

  constructor(connection: WatchConnection, options: WatchStreamOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#next = options.startRevision ?? 0;
    this.#link = new LinkedSignal([options.signal, connection.closing, this.#closing.signal]);
    this.#signal = this.#link.signal;
  }

  requestProgress(request: { readonly nonce: number; readonly linearizable?: boolean }): boolean {
    if (this.#stream === null || !this.#stream.writable) return false;
    this.#stream.write(progressRequest(request));
    return true;
  }

  move(): void {
    this.#stream?.destroy(new ClientError('unavailable', `the watch leaves ${this.#address ?? ''}`));
  }

  /** A watch that fled from its region goes back when somebody is there again. */
  #goHome(): void {
    if (this.#stream === null || !this.#connection.channels.isAway(this.#address!)) return;
    this.#isGoingHome = true;
    this.move();
  }

  close(): void {
    this.#closing.abort();
    this.#link[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchStreamItem, void, undefined> {
    const stopListening = this.#connection.channels.onSurvey(() => this.#goHome());
    try {
      while (!this.#signal.aborted) yield* this.#followOnce();
    } finally {
      stopListening();
      this.close();
    }
  }

  /** One stream until it breaks, and the pause that its end asks for. */
  async *#followOnce(): AsyncGenerator<WatchStreamItem, void, undefined> {
    try {
      yield* this.#follow();
    } catch (failure) {
      if (this.#signal.aborted) return;
      const isStale = this.#isStale(failure);
      if (!(failure instanceof ClientError) || !(isStale || heals(failure))) throw failure;
      this.#failures += 1;
      if (this.#failures > (this.#options.failuresMax ?? FAILURES_MAX)) throw failure;
      yield { type: 'lost', error: failure, address: this.#address };
      await this.#pause();
    }
  }

  async *#follow(): AsyncGenerator<WatchStreamItem, void, undefined> {
    const { channels, signIn, timeoutMs } = this.#connection;
    const signal = this.#signal;
    this.#address = null;
    this.#isGoingHome = false;
    const own = this.#options.token;
    const token = own === undefined ? await signIn.token({ timeoutMs, signal }) : { value: own };
    const { address, stream } = await channels.duplex(METHODS.watch, {
      signal,
      token: token.value,
      kind: 'local',
    });
    this.#address = address;
    try {
      if (signal.aborted) return;
      stream.write(watchRequest(this.#options, this.#next));
      this.#stream = stream;
      yield* this.#items(stream, address);
      throw new ClientError('unavailable', `${address} ended the watch`);
    } catch (error) {
      const failure = asClientError(error);
      if (this.#isStale(failure)) signIn.forget(token);
      else if (!this.#isGoingHome && heals(failure)) channels.fail(address);
      throw failure;
    } finally {
      this.#stream = null;
      stream.cancel();
    }
  }

  /** Whether another token may help: there is no other than the one that was given. */
  #isStale(failure: unknown): boolean {
    return this.#options.token === undefined && this.#connection.signIn.isStale(failure);
  }

  async *#items(stream: Stream, address: string): AsyncGenerator<WatchStreamItem, void, undefined> {
    const whole = new WholeRevisions();
    for await (const response of stream as AsyncIterable<WatchResponse>) {
      if (response.canceled) throw watchCancellation(response);
      this.#failures = 0;
      const answered = header(response.header);
      if (response.created) {
        // From here on a lost connection must not skip what happens meanwhile.
        if (this.#next === 0) this.#next = answered.revision + 1;
        yield { type: 'created', header: answered, address, next: this.#next };
        continue;
      }
      const isProgress = response.events.length === 0 && !response.fragment && whole.isEmpty;
      const events = whole.take(response.events.map(watchEvent), response.fragment);
      const told = isProgress ? answered.revision : events.at(-1)?.kv.modRevision;
      if (told === undefined) continue;
      this.#next = Math.max(this.#next, told + 1);
      if (isProgress) yield progress(response, answered);
      else yield { type: 'events', header: answered, events };
    }
  }

  async #pause(): Promise<void> {
    const longestMs = backoffMs(this.#failures, RETRY_PAUSE);
    // Watches that were lost together do not all come back at once. Aborted while waiting: the loop sees it.
    await pause(longestMs * (0.5 + Math.random() / 2), this.#signal).catch(() => {});
  }
}

function progress(
  response: WatchResponse,
  answered: ResponseHeader,
): WatchStreamItem & { readonly type: 'progress' } {
  const nonce = Number(response.nonce);
  const ageMs = nonce === 0 ? undefined : Number(response.age_ms);
  return { type: 'progress', header: answered, nonce, ageMs };
}
