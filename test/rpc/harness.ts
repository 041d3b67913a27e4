import type { RequestListener } from 'node:http';
import grpc from '@grpc/grpc-js';
import { toRpcError } from '../../src/api/errors.ts';
import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import { ClientPort, type PortLimits } from '../../src/rpc/client-port.ts';
import { codec, serviceMethods } from '../../src/rpc/codec.ts';
import type { Messages, Methods } from '../../src/rpc/generated/messages.ts';
import { GrpcServer, type GrpcServerOptions } from '../../src/rpc/grpc-server.ts';
import type { TlsEndpoint } from '../../src/tls/endpoint.ts';

type Request<P extends keyof Methods> = Partial<Messages[Methods[P]['request']]>;
type Response<P extends keyof Methods> = Messages[Methods[P]['response']];

const identity = (bytes: Buffer): Buffer => bytes;

/** What a harness is made of. */
export interface HarnessOptions extends Partial<Omit<GrpcServerOptions, 'errorStatus' | 'onBug'>> {
  readonly http?: RequestListener;
  readonly tls?: TlsEndpoint;
  readonly logger?: Logger;
  readonly limits?: Partial<PortLimits>;
}

/** A real server on a free port with a real grpc-js client. */
export class Harness implements AsyncDisposable {
  readonly server: GrpcServer;
  readonly port: ClientPort;
  readonly bugs: unknown[] = [];
  address = '';
  portNumber = 0;
  #client: grpc.Client | null = null;

  constructor(options: HarnessOptions = {}) {
    const { http, tls, limits, logger, ...grpcOptions } = options;
    this.server = new GrpcServer({
      errorStatus: toRpcError,
      onBug: (error) => this.bugs.push(error),
      ...grpcOptions,
    });
    this.port = new ClientPort({
      grpc: this.server,
      http: http ?? ((_request, response) => response.end()),
      tls: tls ?? null,
      limits: limits ?? {},
      logger: logger ?? silentLogger,
    });
  }

  async start(): Promise<this> {
    const [address] = await this.port.listen(['http://127.0.0.1:0']);
    this.portNumber = address!.port;
    this.address = `127.0.0.1:${address!.port}`;
    return this;
  }

  get client(): grpc.Client {
    this.#client ??= new grpc.Client(this.address, grpc.credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
    });
    return this.#client;
  }

  /** Rejects with grpc's ServiceError. */
  unaryBytes(path: string, request: Buffer, options: CallOptions = {}): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const call = this.client.makeUnaryRequest(
        path,
        identity,
        identity,
        request,
        metadataOf(options.metadata),
        options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs },
        (error, answer) => (error === null ? resolve(answer!) : reject(error)),
      );
      options.onCall?.(call);
    });
  }

  async unary<P extends keyof Methods>(
    path: P,
    request: Request<P>,
    options: CallOptions = {},
  ): Promise<Response<P>> {
    const { request: requestName, response } = methodOf(path);
    const bytes = await this.unaryBytes(path, codec(requestName).encode(request as never), options);
    return codec(response).decode(bytes) as Response<P>;
  }

  stream<P extends keyof Methods>(path: P, metadata: Record<string, string> = {}): TestStream<P> {
    return new TestStream(
      this.client.makeBidiStreamRequest(path, identity, identity, metadataOf(metadata)),
      path,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.close();
    await this.port.close({ graceMs: 0 });
  }
}

export interface CallOptions {
  readonly metadata?: Record<string, string>;
  readonly deadlineMs?: number;
  readonly onCall?: (call: grpc.ClientUnaryCall) => void;
}

/** One side of a stream: messages are taken in order; the status is that of the whole call. */
export class TestStream<P extends keyof Methods> {
  readonly call: grpc.ClientDuplexStream<Buffer, Buffer>;
  readonly status: Promise<grpc.StatusObject>;
  readonly #path: P;
  readonly #messages: AsyncIterator<Buffer>;

  constructor(call: grpc.ClientDuplexStream<Buffer, Buffer>, path: P) {
    this.call = call;
    this.#path = path;
    this.status = new Promise((resolve) => call.on('status', resolve));
    call.on('error', () => undefined);
    this.#messages = call.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  }

  send(request: Request<P>): void {
    this.call.write(codec(methodOf(this.#path).request).encode(request as never));
  }

  async next(): Promise<Response<P>> {
    const { value, done } = await this.#messages.next();
    if (done === true) throw new Error('the stream ended');
    return codec(methodOf(this.#path).response).decode(value as Buffer) as Response<P>;
  }
}

function methodOf(path: string): { request: keyof Messages; response: keyof Messages } {
  return serviceMethods(path.split('/')[1]!).find((method) => method.path === path)!;
}

function metadataOf(values: Record<string, string> = {}): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(values)) metadata.set(name, value);
  return metadata;
}

/** What a call failed with. */
export async function failure(call: Promise<unknown>): Promise<{ code: number; details: string }> {
  try {
    await call;
  } catch (error) {
    const { code, details } = error as grpc.ServiceError;
    return { code, details };
  }
  throw new Error('the call did not fail');
}
