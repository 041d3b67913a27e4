import { join } from 'node:path';
import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

/** `config.v1` as a client of seed 002 knows it. */
export const PROTO_002: string = join(import.meta.dirname, 'client-of-002.proto');

interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}
export interface Configuration002 {
  readonly key: string;
  readonly value: string;
  readonly value_type: string;
  readonly version: number;
  readonly updated_at: Timestamp | null;
}
export interface Update002 extends Configuration002 {
  readonly update_type: string;
}
export type Answer002<T> =
  | { readonly code: 0; readonly answer: T; readonly metadata: Readonly<Record<string, unknown>> }
  | { readonly code: number; readonly details: string };

type Headers = Readonly<Record<string, string>>;
const TIMEOUT_MS = 20_000;
/** Enumerations by their names, and every field, also those that are as nothing had been said. */
const PLAIN: protobuf.IConversionOptions = { enums: String, longs: Number, defaults: true, arrays: true };

/** A client made of seed 002's definition by protobufjs and grpc-js: nothing of ours stands in between. */
export class Client002 {
  readonly #client: Client;
  readonly #root = new protobuf.Root().loadSync(PROTO_002, { keepCase: true });

  constructor(url: string) {
    this.#client = new Client(new URL(url).host, credentials.createInsecure());
  }

  call<T>(
    method: string,
    request: object,
    { headers = {}, timeoutMs = TIMEOUT_MS }: CallOptions = {},
  ): Promise<Answer002<T>> {
    const { path, requestOf, answerOf } = this.#method(method);
    return new Promise((resolve) => {
      let answer: unknown;
      const call = this.#client.makeUnaryRequest(
        path,
        requestOf,
        answerOf,
        request,
        metadataOf(headers),
        { deadline: Date.now() + timeoutMs },
        (error: ServiceError | null, message) => {
          if (error !== null) resolve({ code: error.code, details: error.details });
          else answer = message;
        },
      );
      call.on('status', ({ code, metadata }) => {
        if (code === 0) resolve({ code, answer: answer as T, metadata: metadata.getMap() });
      });
    });
  }

  stream(request: object, { headers = {} }: CallOptions = {}): Stream002 {
    const { path, requestOf, answerOf } = this.#method('StreamConfigurationUpdates');
    return new Stream002(
      this.#client.makeServerStreamRequest(path, requestOf, answerOf, request, metadataOf(headers)),
    );
  }

  #method(name: string) {
    const method = this.#root.lookupService('config.v1.ConfigurationService').methods[name]!;
    method.resolve();
    const [request, answer] = [method.resolvedRequestType!, method.resolvedResponseType!];
    return {
      path: `/config.v1.ConfigurationService/${name}`,
      requestOf: (message: object) => Buffer.from(request.encode(request.fromObject(message)).finish()),
      answerOf: (bytes: Buffer) => answer.toObject(answer.decode(bytes), PLAIN) as object,
    };
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

interface CallOptions {
  readonly headers?: Headers;
  readonly timeoutMs?: number;
}

/** Updates as they come, and how the stream began and ended. */
export class Stream002 {
  readonly updates: Update002[] = [];
  /** The revision that it began after; rejects when it ends before. */
  readonly begun: Promise<number>;
  readonly ended: Promise<number>;
  readonly #call: ClientReadableStream<object>;

  constructor(call: ClientReadableStream<object>) {
    this.#call = call;
    call.on('data', (update: Update002) => this.updates.push(update));
    call.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      call.on('status', ({ code }) => resolve(code));
    });
    this.begun = new Promise((resolve, reject) => {
      call.on('metadata', (metadata) => resolve(Number(metadata.get('conclave-revision')[0])));
      call.on('status', ({ code, details }) => reject(new Error(`it ended with ${code}: ${details}`)));
    });
    this.begun.catch(() => undefined);
  }

  close(): void {
    this.#call.cancel();
  }
}

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}
