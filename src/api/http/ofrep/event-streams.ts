import { once } from 'node:events';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../../lib/logger.ts';
import type { Caller } from '../../../service/caller.ts';
import type { FlagReads } from '../../../service/flags/flag-reads.ts';
import type { Scope } from '../../../service/model.ts';
import { ServiceError } from '../../../service/service-error.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** It is answered for as long as its caller stays, and is no request under way in the meantime. */
    isStream?: boolean;
  }
}

/** Streams of events of one server at a time; further ones are refused. */
export const OFREP_STREAMS_MAX = 10_000;
/** So often something is sent where nothing happens, so that nobody on the way takes a stream for dead. */
export const OFREP_BEAT_MS = 15_000;

/** Names a revision as the tag of a configuration, which clients bring along when they ask again. */
const TAG = /^r(\d{1,15})$/;

/** The revision that a client was told of; null = it brings none, or somebody else's. */
export function revisionOfTag(tag: string | undefined): number | null {
  const [, digits] = TAG.exec(tag ?? '') ?? [];
  return digits === undefined ? null : Number(digits);
}

interface Stream {
  readonly scope: Scope;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Tells clients of OFREP over server-sent events when to evaluate again. */
export class EventStreams {
  readonly #reads: FlagReads;
  readonly #logger: Logger;
  readonly #closing = new AbortController();
  #open = 0;

  constructor(reads: FlagReads, logger: Logger) {
    this.#reads = reads;
    this.#logger = logger;
  }

  /**
   * Serves a stream until its client goes away. Who comes without an id is told to evaluate at once: what was changed
   * between its last answer and this is not lost.
   *
   * @throws ServiceError as `FlagReads.subscribe`, `too-many-requests`; as long as nothing was sent
   */
  async serve(stream: Stream): Promise<void> {
    if (this.#open >= OFREP_STREAMS_MAX) {
      throw new ServiceError('too-many-requests', 'this server has too many streams of events');
    }
    const { request, reply } = stream;
    const signal = AbortSignal.any([request.caller.signal, this.#closing.signal]);
    this.#open += 1;
    try {
      const caller = { ...request.caller, signal };
      const opened = await this.#subscribe(caller, stream, lastIdOf(request));
      await this.#tell({ ...stream, caller }, opened);
    } catch (error) {
      if (!reply.raw.headersSent) throw error;
      const isExpected = error instanceof ServiceError || signal.aborted;
      if (!isExpected) this.#logger.error({ err: error }, 'a stream of flag events failed: a bug');
    } finally {
      this.#open -= 1;
      if (reply.raw.headersSent) reply.raw.end();
    }
  }

  /** Ends all streams: their clients come back, to this server or another. */
  close(): void {
    this.#closing.abort();
  }

  /** @param after what came after it is told first, as long as it is known; else that something did */
  async #subscribe(caller: Caller, { scope }: Stream, after: number | null): Promise<Opened> {
    const { revision, changes } = await this.#reads.subscribe(caller, { scope, after });
    return { changes, firstOf: after === null ? revision : null };
  }

  async #tell(stream: Stream & { readonly caller: Caller }, first: Opened): Promise<void> {
    const { reply, caller } = stream;
    const { raw } = reply.hijack();
    raw.writeHead(200, {
      ...headersOf(reply),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    raw.flushHeaders();
    const beat = setInterval(() => raw.writableNeedDrain || raw.write(':\n\n'), OFREP_BEAT_MS);
    // A caller that goes away must not leave a writer waiting for room.
    const ended = { signal: caller.signal };
    const write = async (revision: number): Promise<void> => {
      if (!raw.write(eventText(revision))) await once(raw, 'drain', ended);
    };
    try {
      for (let opened: Opened | null = first; opened !== null; ) {
        if (opened.firstOf !== null) await write(opened.firstOf);
        opened = await this.#follow(stream, opened, write);
      }
    } finally {
      clearInterval(beat);
    }
  }

  /** @returns what to go on with when more had happened than is known; null = the stream is over */
  async #follow(
    stream: Stream & { readonly caller: Caller },
    { changes }: Opened,
    write: (revision: number) => Promise<void>,
  ): Promise<Opened | null> {
    try {
      for await (const { revision } of changes) await write(revision);
      return null;
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'gone') throw error;
      return this.#subscribe(stream.caller, stream, null);
    }
  }
}

interface Opened {
  readonly changes: AsyncIterable<{ readonly revision: number }>;
  /** The revision to tell of before all changes; null = none. */
  readonly firstOf: number | null;
}

function eventText(revision: number): string {
  const data = JSON.stringify({ type: 'refetchEvaluation', etag: `r${revision}` });
  return `id: ${revision}\nevent: message\ndata: ${data}\n\n`;
}

/** Null = there is none, or it is none of ours. */
function lastIdOf({ headers }: FastifyRequest): number | null {
  const id = headers['last-event-id'];
  return typeof id === 'string' && /^\d{1,15}$/.test(id) ? Number(id) : null;
}

function headersOf(reply: FastifyReply): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(reply.getHeaders()).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, String(value)] as const],
    ),
  );
}
