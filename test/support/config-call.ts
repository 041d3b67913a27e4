import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { codec, serviceMethods } from '../../src/rpc/codec.ts';
import type { ConfigurationUpdate } from '../../src/rpc/generated/config/v1/configuration.ts';
import type { Messages } from '../../src/rpc/generated/messages.ts';

const SERVICE = 'config.v1.ConfigurationService';
const TIMEOUT_MS = 20_000;

/** How a call ended. */
export type ConfigResult<T> =
  | { readonly ok: true; readonly answer: T; readonly revision: number }
  | { readonly ok: false; readonly code: number; readonly text: string };

type Headers = Readonly<Record<string, string>>;

/** One unary call of the configuration service by grpc-js. */
export function configCall<T = Messages['config.v1.ConfigurationResponse']>(
  url: string,
  name: 'GetConfiguration' | 'GetConfigurations' | 'CheckFeatureFlag',
  request: object,
  headers: Headers = {},
): Promise<ConfigResult<T>> {
  const method = serviceMethods(SERVICE).find(({ path }) => path.endsWith(`/${name}`))!;
  const client = clientOf(url);
  return new Promise((resolve) => {
    let answer: T;
    const call = client.makeUnaryRequest(
      method.path,
      (message: object) => codec(method.request).encode(message),
      (bytes) => codec(method.response).decode(bytes),
      request,
      metadataOf(headers),
      { deadline: Date.now() + TIMEOUT_MS },
      (error: ServiceError | null, message) => {
        if (error !== null) {
          client.close();
          resolve({ ok: false, code: error.code, text: error.details });
        } else answer = message as T;
      },
    );
    call.on('status', ({ code, metadata }) => {
      if (code !== 0) return;
      client.close();
      resolve({ ok: true, answer, revision: Number(metadata.get('conclave-revision')[0]) });
    });
  });
}

/** A stream of updates, collected as they come. */
export interface UpdateStream {
  readonly updates: readonly ConfigurationUpdate[];
  /** After which it began: resolves with the first of the answer; rejects when it ends without one. */
  readonly begun: Promise<number>;
  /** With the status that the server ended it with. */
  readonly ended: Promise<number>;
  close(): void;
}

export function configStream(url: string, request: object, headers: Headers = {}): UpdateStream {
  const client = clientOf(url);
  const updates: ConfigurationUpdate[] = [];
  const call = client.makeServerStreamRequest(
    `/${SERVICE}/StreamConfigurationUpdates`,
    (message: object) => codec('config.v1.StreamConfigurationUpdatesRequest').encode(message),
    (bytes) => codec('config.v1.ConfigurationUpdate').decode(bytes),
    request,
    metadataOf(headers),
  );
  call.on('data', (update: ConfigurationUpdate) => updates.push(update));
  call.on('error', () => undefined);
  const begun = new Promise<number>((resolve, reject) => {
    call.on('metadata', (metadata) => resolve(Number(metadata.get('conclave-revision')[0])));
    call.on('status', ({ code, details }) => reject(new Error(`the stream ended with ${code}: ${details}`)));
  });
  begun.catch(() => undefined);
  return {
    updates,
    begun,
    ended: new Promise((resolve) => {
      call.on('status', ({ code }) => resolve(code));
    }),
    close: () => {
      call.cancel();
      client.close();
    },
  };
}

function clientOf(url: string): Client {
  return new Client(new URL(url).host, credentials.createInsecure());
}

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}
