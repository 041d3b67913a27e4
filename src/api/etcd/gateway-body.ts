import type { IncomingMessage } from 'node:http';
import { StringDecoder } from 'node:string_decoder';
import { StoreError } from '../../lib/errors.ts';
import type { Holding } from '../../rpc/call-budget.ts';
import type { Messages } from '../../rpc/generated/messages.ts';
import { encodeJson } from '../../rpc/json.ts';
import { JsonError } from '../../rpc/json-parse.ts';
import { JsonValues } from '../../rpc/json-values.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';
import { toRpcError } from '../errors.ts';

/** A request as JSON may be so many times larger than as bytes: base64, names, escapes. */
const JSON_PER_BYTE = 2;

/** Requests out of HTTP bodies. */
export interface BodyReader {
  readonly message: keyof Messages;
  /** The largest request as bytes; beyond it `resource-exhausted`, as gRPC's. */
  readonly requestBytesMax: number;
  /** Where what is read counts as memory; without room for it `resource-exhausted`. */
  readonly holding: Pick<Holding, 'take' | 'give'>;
}

/**
 * The one request in a body; none is an empty request. What comes after it is not looked at.
 *
 * @throws RpcError `invalid-argument` when it is no such message, `resource-exhausted` when it is too large
 * @throws StoreError `canceled` when the client went away
 */
export async function readRequest(request: IncomingMessage, reader: BodyReader): Promise<Buffer> {
  try {
    for await (const bytes of readRequests(request, reader)) {
      // Unlike a stream's it is kept as long as its call.
      hold(reader, bytes.length);
      return bytes;
    }
    return Buffer.alloc(0);
  } finally {
    // Whatever follows must leave the connection before its next request.
    request.resume();
  }
}

/**
 * Each request in a body as soon as it is there: JSON objects one after the other.
 *
 * @throws RpcError as `readRequest`
 */
export async function* readRequests(request: IncomingMessage, reader: BodyReader): AsyncGenerator<Buffer> {
  const values = new JsonValues(reader.requestBytesMax * JSON_PER_BYTE);
  const decoder = new StringDecoder('utf8');
  let held = 0;
  for await (const chunk of chunksOf(request)) {
    for (const text of values.push(decoder.write(chunk))) yield encode(text, reader);
    if (values.overflowed) throw tooLarge(reader);
    const { heldCharacters } = values;
    if (heldCharacters > held) hold(reader, heldCharacters - held);
    else reader.holding.give(held - heldCharacters);
    held = heldCharacters;
  }
  for (const text of values.end()) yield encode(text, reader);
  if (values.pending) throw new RpcError(rpcStatus.invalidArgument, 'unexpected EOF');
}

/** @throws StoreError `canceled` when the client went away */
async function* chunksOf(request: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    // A reader that has seen enough still has an answer to send: the connection stays.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
  } catch (error) {
    throw new StoreError('canceled', undefined, { cause: error });
  }
}

function hold({ holding }: BodyReader, bytes: number): void {
  if (!holding.take(bytes)) throw toRpcError(new StoreError('too-many-requests'));
}

function encode(text: string, { message, requestBytesMax }: BodyReader): Buffer {
  try {
    const bytes = encodeJson(message, text);
    if (bytes.length > requestBytesMax) throw tooLarge({ requestBytesMax });
    return bytes;
  } catch (error) {
    if (error instanceof JsonError) throw new RpcError(rpcStatus.invalidArgument, error.message);
    throw error;
  }
}

function tooLarge({ requestBytesMax }: Pick<BodyReader, 'requestBytesMax'>): RpcError {
  return new RpcError(
    rpcStatus.resourceExhausted,
    `received message larger than max (${requestBytesMax} bytes)`,
  );
}
