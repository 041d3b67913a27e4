import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { ClientError } from '../client/client-error.ts';
import {
  type HttpAnswer,
  type HttpCall,
  HttpClient,
  type HttpClientOptions,
  type HttpStream,
} from '../client/http-client.ts';
import { ProblemError } from '../client/problem.ts';
import { canonicalEnvironment } from '../config-format/environments.ts';
import { UsageError } from './arguments.ts';
import { type TlsFlags, tlsFromFlags } from './client-tls.ts';
import { nameAndPassword } from './context.ts';
import type { CliIo } from './io.ts';

export const HTTP_ENDPOINT_DEFAULT = 'http://127.0.0.1:8080';
const TENANT_DEFAULT = 'default';

/** Options that every command of the configuration service takes. */
interface HttpFlags extends TlsFlags {
  readonly httpEndpoint?: string;
  readonly tenant?: string;
  readonly environment?: string;
  readonly application?: string;
  readonly json?: boolean;
  readonly writeOut: 'simple' | 'json';
  readonly user?: string;
  readonly password?: string | boolean;
  /** Seconds. */
  readonly commandTimeout: number;
}

/** What a command of the configuration service works with. */
export interface HttpContext {
  readonly io: CliIo;
  readonly tenant: string;
  readonly json: boolean;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** @throws ProblemError, ClientError */
  call(call: HttpCall): Promise<HttpAnswer>;
  /** A call that makes a change: it is made once, however often it is sent. @throws as `call` */
  change(call: HttpCall): Promise<HttpAnswer>;
  /** A read whose answer comes piece by piece, without a deadline. */
  stream(call: HttpCall): Promise<HttpStream>;
  /** Both: a change that may take long. */
  streamChange(call: HttpCall): Promise<HttpStream>;
  /** For streams of other kinds than answers: where the service is, and as whom. */
  readonly reach: {
    readonly endpoints: readonly string[];
    readonly tls: HttpClientOptions['tls'];
    /** With what was found out about the user so far. */
    headers(): Readonly<Record<string, string>>;
  };
  /** The canonical id. @throws UsageError when none was given */
  environment(): string;
  /** @throws UsageError when none was given */
  application(): string;
  /** Names of configurations by the ids that were asked for: failures tell the names. */
  readonly names: Map<string, string>;
  /** What was given, for commands that can do without. */
  readonly given: { readonly environment: string | undefined; readonly application: string | undefined };
  /** Prints what the server said as it is, or as lines for people. */
  print(answer: { readonly body: unknown; readonly lines: () => string }): Promise<void>;
}

/** Adds the options that say where the service is and what is meant, to a group of commands. */
export function addServiceFlags(group: Command): Command {
  return group
    .option(
      '--http-endpoint <list>',
      `HTTP addresses of members, comma-separated (default: CONCLAVE_HTTP_ENDPOINT or ${HTTP_ENDPOINT_DEFAULT})`,
    )
    .option('--tenant <name>', `whose configuration (default: CONCLAVE_TENANT or ${TENANT_DEFAULT})`)
    .option('--json', 'print what the server says, for programs; the same as --write-out json');
}

/** Adds the options that say which environment and application are meant. */
export function addScopeFlags(group: Command): Command {
  return group
    .option(
      '--environment <name>',
      'DEV, TEST, STAGING, PROD or one of your own (default: CONCLAVE_ENVIRONMENT)',
    )
    .option('--application <name>', 'which application (default: CONCLAVE_APPLICATION)');
}

/** Runs a command's work with a client of the service's HTTP face. */
export async function withHttp(
  io: CliIo,
  command: Command,
  work: (context: HttpContext) => Promise<void>,
): Promise<void> {
  const flags = command.optsWithGlobals<HttpFlags>();
  const tenant = flags.tenant ?? (io.env['CONCLAVE_TENANT'] || TENANT_DEFAULT);
  const environment = flags.environment ?? (io.env['CONCLAVE_ENVIRONMENT'] || undefined);
  const application = flags.application ?? (io.env['CONCLAVE_APPLICATION'] || undefined);
  const json = flags.json === true || flags.writeOut === 'json';
  const signal = io.interrupted();
  const access = new HttpAccess(io, { flags, tls: await tlsFromFlags(flags, io.env), tenant });
  const names = new Map<string, string>();
  const context: HttpContext = {
    io,
    tenant,
    json,
    signal,
    call: (call) => access.with((client) => client.call({ ...call, signal })),
    change: (call) => {
      const once = { ...asChange(call), signal };
      return access.with((client) => client.call(once));
    },
    stream: (call) => access.with((client) => client.stream({ ...call, signal })),
    streamChange: (call) => {
      const once = { ...asChange(call), signal };
      return access.with((client) => client.stream(once));
    },
    reach: access.reach,
    environment: () => canonicalEnvironment(needed(environment, '--environment')),
    application: () => needed(application, '--application'),
    given: {
      environment: environment === undefined ? undefined : canonicalEnvironment(environment),
      application,
    },
    names,
    print: async ({ body, lines }) => io.out(json ? `${JSON.stringify(body)}\n` : lines()),
  };
  try {
    await work(context);
  } catch (error) {
    throw withNames(error, names);
  }
}

/** Nobody knows a configuration by the id that follows from its name. */
function withNames(error: unknown, names: HttpContext['names']): unknown {
  if (!(error instanceof ProblemError) || error.status !== 404) return error;
  const [, text = '', id = ''] = /^(.*) with the id (\S+)$/.exec(error.message) ?? [];
  const name = names.get(id);
  return name === undefined ? error : new ProblemError(`${text} ${name}`, error);
}

/** Done once, however often it is sent. */
function asChange(call: HttpCall): HttpCall {
  return { ...call, headers: { 'idempotency-key': randomUUID(), ...call.headers }, isRepeatable: true };
}

/** An answer's body. @throws ClientError `data-loss` when it is no JSON */
export function jsonOf<T>({ body }: Pick<HttpAnswer, 'body'>): T {
  try {
    return JSON.parse(body.toString()) as T;
  } catch (cause) {
    throw new ClientError('data-loss', 'the answer is no JSON', { cause });
  }
}

/** Calls as the user that was named; a password that was not given is asked for when the server wants one. */
class HttpAccess {
  readonly #io: CliIo;
  readonly #options: HttpClientOptions;
  readonly #user: string | undefined;
  #client: HttpClient;
  #hasLogin: boolean;

  constructor(
    io: CliIo,
    {
      flags,
      tls,
      tenant,
    }: { readonly flags: HttpFlags; readonly tls: HttpClientOptions['tls']; readonly tenant: string },
  ) {
    const { user, password } = userOf(flags, io.env);
    const endpoints = flags.httpEndpoint ?? (io.env['CONCLAVE_HTTP_ENDPOINT'] || HTTP_ENDPOINT_DEFAULT);
    this.#io = io;
    this.#user = user;
    this.#hasLogin = user !== undefined && password !== undefined;
    this.#options = {
      endpoints: endpoints.split(',').map((part) => part.trim()),
      tls,
      timeoutMs: flags.commandTimeout * 1000,
      headers: {
        'x-conclave-tenant': tenant,
        ...(user === undefined ? {} : { 'x-conclave-user': user }),
      },
    };
    this.#client = this.#clientWith(password);
  }

  get reach(): HttpContext['reach'] {
    const { endpoints, tls } = this.#options;
    return { endpoints, tls, headers: () => this.#client.headers };
  }

  async with<T>(work: (client: HttpClient) => Promise<T>): Promise<T> {
    try {
      return await work(this.#client);
    } catch (error) {
      const isUnknown = error instanceof ProblemError && error.status === 401;
      if (!isUnknown || this.#user === undefined || this.#hasLogin) throw withHint(error);
      this.#hasLogin = true;
      this.#client = this.#clientWith(await this.#io.readPassword(`Password of ${this.#user}: `));
      return work(this.#client);
    }
  }

  #clientWith(password: string | undefined): HttpClient {
    if (this.#user === undefined || password === undefined) return new HttpClient(this.#options);
    return new HttpClient({ ...this.#options, login: { user: this.#user, password } });
  }
}

function userOf(
  flags: Pick<HttpFlags, 'user' | 'password'>,
  env: CliIo['env'],
): { readonly user: string | undefined; readonly password: string | undefined } {
  const user = flags.user ?? (env['CONCLAVE_USER'] || undefined);
  if (user === undefined) return { user, password: undefined };
  const given = (typeof flags.password === 'string' ? flags.password : undefined) ?? env['CONCLAVE_PASSWORD'];
  // With a password of its own the name may hold a colon.
  if (given !== undefined) return { user, password: given };
  const { name, password } = nameAndPassword(user);
  return { user: name, password: password ?? undefined };
}

function needed(value: string | undefined, flag: string): string {
  if (value === undefined || value === '') throw new UsageError(`${flag} is needed`);
  return value;
}

/** Nobody was reached: the hint of the store's commands would name the wrong option. */
function withHint(error: unknown): unknown {
  if (!(error instanceof ClientError) || error.code !== 'unavailable' || !error.unsent) return error;
  const text = `${error.message}\nIs the service running? --http-endpoint says where it is.`;
  return new ClientError('unavailable', text, { cause: error });
}
