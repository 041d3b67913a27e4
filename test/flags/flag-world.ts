import { toRpcError } from '../../src/api/errors.ts';
import { HttpFace } from '../../src/api/http/http-face.ts';
import type { Kv } from '../../src/kv/kv.ts';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { ClientPort } from '../../src/rpc/client-port.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import type { Json } from '../../src/service/model.ts';
import type { Service } from '../../src/service/service.ts';
import { RETENTION_DEFAULT } from '../../src/service/sweepers/retention.ts';
import { type RunningService, runService } from '../../src/service-run.ts';
import { ada } from '../service/world.ts';

export const SCOPE = { tenant: 'default', environment: 'production', application: 'shop' } as const;
export const SELECTOR = 'application=shop,environment=production';

/** Flags of every type and reason, by key. */
export const FLAGS: Readonly<Record<string, Readonly<Record<string, Json>>>> = {
  'static-on': {
    type: 'boolean',
    variants: { on: true, off: false },
    fallthrough: { variant: 'on' },
    metadata: { owner: 'checkout', tier: 2, beta: true },
  },
  'static-off': { type: 'boolean', variants: { on: true, off: false }, fallthrough: { variant: 'off' } },
  greeting: {
    type: 'string',
    variants: { staff: 'hello, colleague', all: 'welcome' },
    fallthrough: { variant: 'all' },
    rules: [
      {
        name: 'staff',
        when: [{ attribute: 'email', operator: 'ENDS_WITH', values: ['@shop.example'] }],
        serve: { variant: 'staff' },
      },
    ],
  },
  limit: { type: 'number', variants: { few: 3, half: 0.5 }, fallthrough: { variant: 'few' } },
  half: { type: 'number', variants: { half: 0.5 }, fallthrough: { variant: 'half' } },
  theme: {
    type: 'object',
    variants: { dark: { background: '#000', depth: [1, null, { a: true }] } },
    fallthrough: { variant: 'dark' },
  },
  experiment: {
    type: 'string',
    variants: { a: 'A', b: 'B' },
    fallthrough: {
      split: {
        weights: [
          { variant: 'a', weight: 5_000 },
          { variant: 'b', weight: 5_000 },
        ],
      },
    },
  },
  disabled: {
    type: 'boolean',
    enabled: false,
    variants: { on: true, off: false },
    offVariant: 'off',
    fallthrough: { variant: 'on' },
  },
  valueless: {
    type: 'string',
    enabled: false,
    variants: { a: 'A' },
    offVariant: null,
    fallthrough: { variant: 'a' },
  },
  /** flagd has no regular expressions. */
  pattern: {
    type: 'boolean',
    variants: { on: true, off: false },
    fallthrough: { variant: 'off' },
    rules: [
      { when: [{ attribute: 'email', operator: 'MATCHES', values: ['^a'] }], serve: { variant: 'on' } },
    ],
  },
};

/** The service with all its faces, listening, on a store in memory. */
export class FlagWorld implements AsyncDisposable {
  readonly service: Service;
  readonly httpUrl: string;
  readonly grpcPort: number;
  readonly bugs: unknown[];
  readonly #running: RunningService;
  #port: ClientPort;
  readonly #grpc: GrpcServer;
  readonly #face: HttpFace;
  #closed: Promise<void> | null = null;

  private constructor(parts: {
    readonly running: RunningService;
    readonly port: ClientPort;
    readonly grpc: GrpcServer;
    readonly grpcPort: number;
    readonly face: HttpFace;
    readonly bugs: unknown[];
  }) {
    this.#running = parts.running;
    this.#port = parts.port;
    this.#grpc = parts.grpc;
    this.#face = parts.face;
    this.service = parts.running.service;
    this.grpcPort = parts.grpcPort;
    this.httpUrl = `http://127.0.0.1:${parts.face.addresses[0]!.port}`;
    this.bugs = parts.bugs;
  }

  /** @param options.flags default: `FLAGS` */
  static async open(
    options: {
      readonly flags?: typeof FLAGS;
      readonly corsOrigins?: readonly string[];
      readonly wrap?: (kv: Kv) => Kv;
    } = {},
  ): Promise<FlagWorld> {
    const memory = new MemoryKv();
    const bugs: unknown[] = [];
    const onBug = (error: unknown): void => void bugs.push(error);
    const face = await HttpFace.open({
      urls: ['http://127.0.0.1:0'],
      operations: (_request, response) => response.end(),
      tls: null,
      logger: silentLogger,
    });
    const grpc = new GrpcServer({ errorStatus: toRpcError, onBug });
    const running = await runService({
      kv: options.wrap?.(memory) ?? memory,
      settings: {
        tenant: SCOPE.tenant,
        environment: 'development',
        secretKeyFile: null,
        retention: RETENTION_DEFAULT,
        requireIdentity: false,
      },
      corsOrigins: options.corsOrigins ?? [],
      face,
      methods: grpc,
      logger: { ...silentLogger, error: (fields: unknown) => void bugs.push(fields) },
      signal: new AbortController().signal,
    });
    const port = new ClientPort({ grpc, http: (_request, response) => void response.end() });
    const [address] = await port.listen(['http://127.0.0.1:0']);
    const world = new FlagWorld({ running: running!, port, grpc, grpcPort: address!.port, face, bugs });
    for (const [key, definition] of Object.entries(options.flags ?? FLAGS)) await world.put(key, definition);
    return world;
  }

  /** Creates a flag, or gives it another definition. @returns the revision of the change */
  async put(key: string, definition: Json, scope: Partial<typeof SCOPE> = {}): Promise<number> {
    const name = { ...SCOPE, ...scope, kind: 'flag', key } as const;
    const { revision } = await this.service.features.put(ada, { name, definition });
    return revision;
  }

  /** Ends all connections of gRPC, and listens again at the same port. */
  async restartPort(): Promise<void> {
    await this.#port.close({ graceMs: 0 });
    this.#port = new ClientPort({ grpc: this.#grpc, http: (_request, response) => void response.end() });
    await this.#port.listen([`http://127.0.0.1:${this.grpcPort}`]);
  }

  /** Ends HTTP; once. */
  async closeHttp(): Promise<void> {
    this.#closed ??= this.#face.close();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.closeHttp(), this.#port.close({ graceMs: 0 })]);
    await this.#running.close();
  }
}
