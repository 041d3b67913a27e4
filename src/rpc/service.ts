import { assert } from '../lib/assert.ts';
import { type Codec, codec, messageType, serviceMethods } from './codec.ts';
import type { Messages, Methods } from './generated/messages.ts';
import { hasTooManyParts, REQUEST_PARTS_MAX } from './message-parts.ts';
import type { RpcCall, RpcServer, RpcWriter, UnaryAnswer } from './server.ts';
import { RpcError, rpcStatus } from './status.ts';

type PathOf<Kind> = { [P in keyof Methods]: Methods[P]['kind'] extends Kind ? P : never }[keyof Methods];
export type RequestOf<P extends keyof Methods> = Messages[Methods[P]['request']];
export type ResponseOf<P extends keyof Methods> = Partial<Messages[Methods[P]['response']]>;

/** Writes decoded answers; `bytes` is for answers that were encoded elsewhere. */
export interface MessageWriter<T> {
  write(message: T): void;
  readonly bytes: RpcWriter;
}

/** Registers a method by its messages: the types follow from the path. */
export function unary<P extends PathOf<'unary'>>(
  server: RpcServer,
  path: P,
  handler: (request: RequestOf<P>, call: RpcCall, requestBytes: number) => Promise<ResponseOf<P>>,
): void {
  const { request, response } = codecsOf(path);
  const encode = (answer: ResponseOf<P>): Buffer => response.encode(answer);
  server.unary(path, (bytes, call) => handler(request.decode(bytes), call, bytes.length).then(encode));
}

/** As `unary`, for a method whose answers may be so large that the handler encodes them itself, in pieces. */
export function unaryEncoded<P extends PathOf<'unary'>>(
  server: RpcServer,
  path: P,
  handler: (request: RequestOf<P>, call: RpcCall, requestBytes: number) => Promise<UnaryAnswer>,
): void {
  const { request } = codecsOf(path);
  server.unary(path, (bytes, call) => handler(request.decode(bytes), call, bytes.length));
}

/** As `unary`, for a method that answers with a stream. */
export function serverStream<P extends PathOf<'server-stream'>>(
  server: RpcServer,
  path: P,
  handler: (request: RequestOf<P>, call: RpcCall, out: MessageWriter<ResponseOf<P>>) => Promise<void>,
): void {
  const { request, response } = codecsOf(path);
  server.serverStream(path, async (bytes, call, out) => {
    await handler(request.decode(bytes), call, {
      write: (message) => out.write(response.encode(message)),
      bytes: out,
    });
  });
}

/** As `unary`, for a method whose requests and answers are streams. */
export function bidi<P extends PathOf<'bidi'>>(
  server: RpcServer,
  path: P,
  handler: (
    requests: AsyncIterable<RequestOf<P>>,
    call: RpcCall,
    out: MessageWriter<ResponseOf<P>>,
  ) => Promise<void>,
): void {
  const { request, response } = codecsOf(path);
  server.bidi(path, async (messages, call, out) => {
    await handler(decoded(messages, request), call, {
      write: (message) => out.write(response.encode(message)),
      bytes: out,
    });
  });
}

/** Registers what is left of a service: its calls fail with `unimplemented` and a text that names the method. */
export function refuseRest(server: RpcServer, service: string): void {
  const registered = new Set(server.paths());
  for (const method of serviceMethods(service)) {
    if (registered.has(method.path)) continue;
    const refuse = (): Promise<never> =>
      Promise.reject(
        new RpcError(rpcStatus.unimplemented, `etcdserver: ${method.path} is not supported by this server`),
      );
    if (method.kind === 'unary') server.unary(method.path, refuse);
    else if (method.kind === 'server-stream') server.serverStream(method.path, refuse);
    else server.bidi(method.path, refuse);
  }
}

async function* decoded<T>(messages: AsyncIterable<Buffer>, request: Codec<T>): AsyncGenerator<T> {
  for await (const message of messages) yield request.decode(message);
}

function codecsOf<P extends keyof Methods>(path: P): { request: Codec<RequestOf<P>>; response: Encoder<P> } {
  const method = serviceMethods(path.split('/')[1]!).find((candidate) => candidate.path === path);
  assert(method !== undefined, 'the path names a method of the definitions');
  return {
    request: bounded(method.request) as unknown as Codec<RequestOf<P>>,
    response: codec(method.response) as unknown as Encoder<P>,
  };
}

/** The codec of requests, which come from anybody. */
function bounded<N extends keyof Messages>(name: N): Codec<Messages[N]> {
  const plain = codec(name);
  let type: ReturnType<typeof messageType> | null = null;
  return {
    encode: (message) => plain.encode(message),
    decode: (bytes) => {
      type ??= messageType(name);
      if (!hasTooManyParts(type, bytes)) return plain.decode(bytes);
      const text = `grpc: the request has more than ${REQUEST_PARTS_MAX} fields`;
      throw new RpcError(rpcStatus.resourceExhausted, text);
    },
  };
}

interface Encoder<P extends keyof Methods> {
  encode(message: ResponseOf<P>): Buffer;
}
