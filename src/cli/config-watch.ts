import type { Command } from 'commander';
import { WebSocket } from 'ws';
import { ClientError } from '../client/client-error.ts';
import { ProblemError, problemOf } from '../client/problem.ts';
import { naturalNumber } from './arguments.ts';
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

/** 001's ConfigurationUpdate, with the extensions that REQUIREMENTS names. */
interface ConfigEvent {
  readonly config_key: string;
  readonly old_value: unknown;
  readonly new_value: unknown;
  readonly updated_by: string;
  readonly reason: string;
  readonly version: number;
  readonly revision: number;
}

interface WatchFlags {
  readonly revision?: number;
  readonly prefix?: string;
}

/** `conclave config watch`: every change of what holds, as it happens. */
export function watchCommand(parent: Command, io: CliIo): void {
  parent
    .command('watch')
    .description('print every change of what holds for an application in an environment, until Ctrl-C')
    .option('--revision <n>', 'go on behind this revision; default: what comes from now on', naturalNumber)
    .option('--prefix <text>', 'only keys that begin so')
    .action((flags: WatchFlags, command: Command) =>
      withHttp(io, command, async (context) => {
        await follow(context, flags);
      }),
    );
}

/** Goes on at the next member, behind the last event, when a stream is cut off. */
async function follow(context: HttpContext, { revision, prefix }: WatchFlags): Promise<void> {
  const { signal, reach } = context;
  let last = revision;
  let failures = 0;
  for (let at = 0; !signal.aborted; at += 1) {
    const base = reach.endpoints[at % reach.endpoints.length]!;
    try {
      await events(context, urlOf(context, base, last), async (event) => {
        failures = 0;
        last = event.revision;
        if (prefix === undefined || event.config_key.startsWith(prefix)) await printed(context, event);
      });
    } catch (error) {
      // Whoever was never there is not waited for.
      if (!(error instanceof ClientError) || (last === revision && at + 1 >= reach.endpoints.length))
        throw error;
    }
    failures += 1;
    if (!signal.aborted)
      await pause(Math.min(RETRY_PAUSE_MS * 2 ** (failures - 1), RETRY_PAUSE_MS_MAX), signal);
  }
}

function urlOf(context: HttpContext, base: string, revision: number | undefined): URL {
  const url = new URL(`/api/v1/config/watch/${encodeURIComponent(context.application())}`, base);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.searchParams.set('environment', context.environment());
  if (revision !== undefined) url.searchParams.set('revision', String(revision));
  return url;
}

/** @throws ProblemError when the server refuses; ClientError `unavailable` when the stream is cut off */
async function events(
  { reach, signal }: HttpContext,
  url: URL,
  take: (event: ConfigEvent) => Promise<void>,
): Promise<void> {
  const { ca, cert, key, insecureSkipVerify } = reach.tls ?? {};
  const socket = new WebSocket(url, {
    headers: reach.headers(),
    maxPayload: EVENT_BYTES_MAX,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert, key }),
    rejectUnauthorized: insecureSkipVerify !== true,
  });
  const onAbort = (): void => socket.terminate();
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  // Printed one after another, in the order in which they came.
  let printing = Promise.resolve();
  try {
    await new Promise<void>((resolve, reject) => {
      socket.on('message', (data) => {
        const text = Buffer.isBuffer(data) ? data.toString() : '';
        printing = printing.then(() => take(JSON.parse(text) as ConfigEvent)).catch(reject);
      });
      socket.on('unexpected-response', (_request, response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          reject(problemOf(response.statusCode!, response.headers, Buffer.concat(chunks))),
        );
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
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.terminate();
    await printing;
  }
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
  const { config_key: key, old_value: before, new_value: after, updated_by: who, reason, version } = event;
  const shown = (value: unknown): string =>
    value === null || value === undefined ? 'nothing' : cell(plainText(value));
  const why = reason === '' ? '' : `: ${cell(reason)}`;
  await io.out(`${key}: ${shown(before)} -> ${shown(after)} (version ${version}, ${who}${why})\n`);
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
