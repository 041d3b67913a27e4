import type { IncomingMessage } from 'node:http';
import { type Command, InvalidArgumentError } from 'commander';
import { WebSocket } from 'ws';
import { ClientError } from '../client/client-error.ts';
import { ProblemError, problemOf } from '../client/problem.ts';
import { cell, plainText } from './config-words.ts';
import { type HttpContext, withHttp } from './http-context.ts';
import type { CliIo } from './io.ts';

/** Bytes of one event: two values of 512 KiB, escaped. */
const EVENT_BYTES_MAX = 16 * 1024 * 1024;
/** Between two attempts to go on with a watch that was cut off; twice as long after each failure. */
const RETRY_PAUSE_MS = 500;
const RETRY_PAUSE_MS_MAX = 10_000;
/** Why a server ends a stream that will not do better elsewhere: RFC 6455, policy violation, and its own from 4000 on. */
const POLICY_VIOLATION = 1008;
const OWN_CODES_FROM = 4000;

/** Members say every 15 s that they are there: one that is silent for longer is left. */
const SILENCE_MS_MAX = 60_000;
/** Answers after which another member, or a later attempt, may do better. */
const ELSEWHERE: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** 001's ConfigurationUpdate, with what docs/streams.md adds. */
interface ConfigEvent {
  readonly config_key: string;
  readonly old_value: unknown;
  readonly new_value: unknown;
  readonly type: 'created' | 'updated' | 'deleted';
  readonly updated_by: string;
  readonly reason: string;
  readonly version: number;
  readonly cursor: string;
}

interface WatchFlags {
  readonly revision?: string;
  readonly prefix?: string;
  readonly instance?: string;
}

/** `conclave config watch`: every change of what holds, as it happens. */
export function watchCommand(parent: Command, io: CliIo): void {
  parent
    .command('watch')
    .description('print every change of what holds for an application in an environment, until Ctrl-C')
    .option(
      '--revision <n>',
      'go on behind this revision, or the cursor of an event; default: what comes from now on',
      cursorWord,
    )
    .option('--prefix <text>', 'only keys that begin so')
    .option('--instance <id>', 'be known as this instance of the application for as long as it runs')
    .action((flags: WatchFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        await new Watch(context, flags).run();
      }),
    );
}

function cursorWord(text: string): string {
  if (!/^\d+(?:-\d+)?$/.test(text)) throw new InvalidArgumentError('It is no revision, and no cursor.');
  return text;
}

/** Goes on at the next member, behind what was printed last, when a stream is cut off. */
class Watch {
  readonly #context: HttpContext;
  readonly #flags: WatchFlags;
  /** To go on from. */
  #cursor: string | undefined;
  /** Some member was there once. */
  #hasBegun = false;
  /** Since something was heard. */
  #failures = 0;

  constructor(context: HttpContext, flags: WatchFlags) {
    this.#context = context;
    this.#flags = flags;
    this.#cursor = flags.revision;
  }

  async run(): Promise<void> {
    const { signal, reach } = this.#context;
    for (let at = 0; !signal.aborted; at += 1) {
      try {
        await this.#stream(reach.endpoints[at % reach.endpoints.length]!);
      } catch (error) {
        // Whoever was never there is not waited for.
        if (!(error instanceof ClientError) || (!this.#hasBegun && at + 1 >= reach.endpoints.length))
          throw error;
      }
      this.#failures += 1;
      const pauseMs = Math.min(RETRY_PAUSE_MS * 2 ** (this.#failures - 1), RETRY_PAUSE_MS_MAX);
      if (!signal.aborted) await pause(pauseMs, signal);
    }
  }

  /** @throws ProblemError when the server refuses; ClientError `unavailable` when the stream is cut off */
  async #stream(base: string): Promise<void> {
    const { reach, signal } = this.#context;
    const { ca, cert, key, insecureSkipVerify } = reach.tls ?? {};
    const socket = new WebSocket(this.#urlAt(base), {
      headers: reach.headers(),
      maxPayload: EVENT_BYTES_MAX,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert, key }),
      rejectUnauthorized: insecureSkipVerify !== true,
    });
    const onAbort = (): void => socket.terminate();
    signal.addEventListener('abort', onAbort, { once: true });
    const silence = setTimeout(() => socket.terminate(), SILENCE_MS_MAX);
    // Printed one after another, in the order in which they came.
    let printing = Promise.resolve();
    try {
      const ended = this.#ended(socket);
      if (signal.aborted) onAbort();
      await new Promise<void>((resolve, reject) => {
        ended.then(resolve, reject);
        const next = (work: () => Promise<void> | void): void => {
          silence.refresh();
          this.#failures = 0;
          // The server waits while this does.
          socket.pause();
          printing = printing.then(work).then(() => socket.resume(), reject);
        };
        socket.on('upgrade', ({ headers }) => {
          this.#hasBegun = true;
          this.#cursor ??= headers['conclave-revision'] as string | undefined;
        });
        socket.on('message', (data) => next(() => this.#take(Buffer.isBuffer(data) ? data.toString() : '')));
        socket.on('ping', (data) =>
          next(() => {
            if (data.length > 0) this.#cursor = data.toString();
          }),
        );
      });
    } finally {
      clearTimeout(silence);
      signal.removeEventListener('abort', onAbort);
      socket.terminate();
      await printing;
    }
  }

  #urlAt(base: string): URL {
    const context = this.#context;
    const { prefix, instance } = this.#flags;
    const url = new URL(`/api/v1/config/watch/${encodeURIComponent(context.application())}`, base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.searchParams.set('environment', context.environment());
    if (this.#cursor !== undefined) url.searchParams.set('revision', this.#cursor);
    if (prefix !== undefined) url.searchParams.set('keyPrefix', prefix);
    if (instance !== undefined) url.searchParams.set('instance', instance);
    return url;
  }

  async #take(text: string): Promise<void> {
    const event = JSON.parse(text) as ConfigEvent;
    await printed(this.#context, event);
    this.#cursor = event.cursor;
  }

  #ended(socket: WebSocket): Promise<void> {
    const { signal } = this.#context;
    return new Promise((resolve, reject) => {
      socket.on('unexpected-response', (_request, response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => reject(refusalOf(response, Buffer.concat(chunks))));
        response.on('error', reject);
      });
      socket.on('error', (error) => {
        if (signal.aborted) resolve();
        else reject(new ClientError('unavailable', error.message, { cause: error }));
      });
      socket.on('close', (code, reason) => {
        if (signal.aborted) resolve();
        else reject(endOf(code, reason.toString()));
      });
    });
  }
}

function refusalOf({ statusCode = 0, headers }: IncomingMessage, body: Buffer): Error {
  const problem = problemOf(statusCode, headers, body);
  return ELSEWHERE.has(statusCode) ? new ClientError('unavailable', problem.message) : problem;
}

function endOf(code: number, reason: string): Error {
  const message = reason === '' ? `the stream ended with ${code}` : reason;
  const lasts = code === POLICY_VIOLATION || code >= OWN_CODES_FROM;
  return lasts
    ? new ProblemError(message, { status: code, code: '', fields: [] })
    : new ClientError('unavailable', message);
}

async function printed({ io, json }: HttpContext, event: ConfigEvent): Promise<void> {
  if (json) return io.out(`${JSON.stringify(event)}\n`);
  const { config_key: key, type, updated_by: who, reason, version } = event;
  const before = type === 'created' ? 'nothing' : cell(plainText(event.old_value));
  const after = type === 'deleted' ? 'nothing' : cell(plainText(event.new_value));
  const why = reason === '' ? '' : `: ${cell(reason)}`;
  await io.out(`${key}: ${before} -> ${after} (version ${version}, ${who}${why})\n`);
}

/** Ends early when the signal aborts. */
async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, durationMs);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}
