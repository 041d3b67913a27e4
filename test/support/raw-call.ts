import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { codec, serviceMethods } from '../../src/rpc/codec.ts';
import type { Messages } from '../../src/rpc/generated/messages.ts';

/** How a call over the wire ended: `text` is exactly what the server sent with its status. */
export type CallResult =
  | { readonly ok: true; readonly answer: Messages[keyof Messages] }
  | { readonly ok: false; readonly code: number; readonly text: string };

const TIMEOUT_MS = 10_000;
const EMPTY = Buffer.alloc(0);

/**
 * One unary call by grpc-js, whatever the request says: nothing of our own client stands in between.
 *
 * @param path such as `KV/Put`; of a method that nobody defined, the request is empty
 * @param request fields as on the wire; what is not named is absent
 * @param headers sent with it, such as a token
 */
export function rawCall(
  url: string,
  path: string,
  request: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<CallResult> {
  const full = `/etcdserverpb.${path}`;
  const service = full.slice(1, full.indexOf('/', 1));
  const method = serviceMethods(service).find((candidate) => candidate.path === full);
  const client = new Client(new URL(url).host, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 2 ** 31 - 1,
  });
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      full,
      (message: object) => (method === undefined ? EMPTY : codec(method.request).encode(message)),
      (bytes) => codec(method?.response ?? 'etcdserverpb.ResponseHeader').decode(bytes),
      request,
      metadata,
      { deadline: Date.now() + TIMEOUT_MS },
      (error: ServiceError | null, answer) => {
        client.close();
        if (error !== null) resolve({ ok: false, code: error.code, text: error.details });
        else resolve({ ok: true, answer: answer! });
      },
    );
  });
}
