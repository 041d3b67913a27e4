import type { Kv } from '../../kv/kv.ts';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { codec } from '../../rpc/codec.ts';
import type { StreamConfigurationUpdatesRequest } from '../../rpc/generated/config/v1/configuration.ts';
import type { RpcCall, RpcServer } from '../../rpc/server.ts';
import { serverStream, unary } from '../../rpc/service.ts';
import { RpcError } from '../../rpc/status.ts';
import type { Caller } from '../../service/caller.ts';
import { environmentId } from '../../service/environments/spelling.ts';
import type { Scope } from '../../service/model.ts';
import type { Consistency } from '../../service/projection.ts';
import type { Service } from '../../service/service.ts';
import { invalid, ServiceError } from '../../service/service-error.ts';
import type { Update } from '../../service/updates/updates.ts';
import { Identity, type Shown } from '../identity.ts';
import { serviceErrorMapping } from '../service-errors.ts';
import { CONFIGURATION_SERVICE, HEADER } from './metadata.ts';
import { wireConfiguration, wireUpdate } from './translate.ts';

export interface ConfigurationFaceOptions {
  readonly service: Service;
  /** Where callers are known. */
  readonly kv: Pick<Kv, 'authEnabled' | 'signIn' | 'permits'>;
  /** Of calls that do not say. */
  readonly tenant: string;
  readonly requireIdentity: boolean;
}

/** Keys of one stream of updates. */
export const STREAM_KEYS_MAX = 1_000;
/** Of a bounded read that does not say. */
const STALENESS_MS_DEFAULT = 1_000;

/**
 * Registers `config.v1.ConfigurationService`. A secret is shown by the calls that ask for values, which is recorded;
 * streams mask it.
 */
export function registerConfiguration(server: RpcServer, options: ConfigurationFaceOptions): void {
  const { service } = options;
  const face = new Face(options);

  unary(server, `/${CONFIGURATION_SERVICE}/GetConfiguration`, (message, call) =>
    face.answer(call, async (caller) => {
      const name = { ...face.scopeOf(message, call), key: message.key };
      const { result, revision } = await service.reads.lookup(caller, { name, ...readOptions(call) });
      call.setTrailer(HEADER.revision, String(revision));
      return wireConfiguration(result);
    }),
  );

  unary(server, `/${CONFIGURATION_SERVICE}/GetConfigurations`, (message, call) =>
    face.answer(call, async (caller) => {
      const request = { scope: face.scopeOf(message, call), keys: message.keys, ...readOptions(call) };
      const { result, revision } = await service.reads.getMany(caller, request);
      call.setTrailer(HEADER.revision, String(revision));
      return { configurations: result.items.map(wireConfiguration) };
    }),
  );

  /** All who watch a scope are told the same. */
  const encoded = new WeakMap<Update, Buffer>();
  const wire = codec('config.v1.ConfigurationUpdate');
  const bytesOf = (update: Update): Buffer => {
    const bytes = encoded.get(update) ?? wire.encode(wireUpdate(update));
    encoded.set(update, bytes);
    return bytes;
  };

  serverStream(server, `/${CONFIGURATION_SERVICE}/StreamConfigurationUpdates`, (message, call, out) =>
    face.answer(call, async (caller) => {
      if (message.keys.length > STREAM_KEYS_MAX) {
        throw invalid({ field: 'keys', message: `are more than ${STREAM_KEYS_MAX}` });
      }
      const { revision, updates } = await service.updates.open(caller, {
        scope: face.scopeOf(message, call),
        keys: message.keys,
        after: revisionOf(message, call),
      });
      call.sendHeaders([[HEADER.revision, String(revision)]]);
      for await (const update of updates) {
        out.bytes.write(bytesOf(update));
        if (!out.bytes.writable) await out.bytes.drained();
      }
    }),
  );
}

class Face {
  readonly #tenant: string;
  readonly #identity: Identity;

  constructor({ kv, tenant, requireIdentity }: ConfigurationFaceOptions) {
    this.#tenant = tenant;
    this.#identity = new Identity({ kv, requireIdentity });
  }

  /** Serves a call in the name of whoever makes it. @throws RpcError in place of the service's failures */
  async answer<T>(call: RpcCall, work: (caller: Caller) => Promise<T>): Promise<T> {
    const signal = abortSignalOf(call.signal);
    try {
      return await work(await this.#identity.callerOf(shownBy(call), signal));
    } catch (error) {
      if (error instanceof ServiceError)
        throw new RpcError(serviceErrorMapping(error.code).status, error.message);
      throw error;
    }
  }

  /** @throws ServiceError `invalid` */
  scopeOf(
    { application, environment }: { readonly application: string; readonly environment: string },
    call: RpcCall,
  ): Scope {
    const tenant = call.metadata(HEADER.tenant) ?? this.#tenant;
    if (environment === '') throw invalid({ field: 'environment', message: 'must not be empty' });
    return { tenant, environment: environmentId(environment), application };
  }
}

function shownBy(call: RpcCall): Shown {
  return {
    authorization: call.metadata(HEADER.authorization),
    token: call.metadata(HEADER.token),
    certificateName: call.certificateName,
    user: call.metadata(HEADER.user),
    address: call.peer.slice(0, Math.max(0, call.peer.lastIndexOf(':'))),
    agent: call.metadata(HEADER.agent),
  };
}

function readOptions(call: RpcCall): { readonly consistency: Consistency; readonly reveal: boolean } {
  return { consistency: consistencyOf(call), reveal: call.metadata(HEADER.reveal) !== 'false' };
}

/** @throws ServiceError `invalid` */
function consistencyOf(call: RpcCall): Consistency {
  const type = call.metadata(HEADER.consistency) ?? 'strong';
  const text = call.metadata(HEADER.maxStalenessMs);
  switch (type) {
    case 'strong':
    case 'eventual':
      return { type };
    case 'bounded': {
      const maxStalenessMs =
        text === undefined ? STALENESS_MS_DEFAULT : wholeNumber(HEADER.maxStalenessMs, text);
      return { type, maxStalenessMs };
    }
    default:
      throw invalid({ field: HEADER.consistency, message: 'must be strong, bounded or eventual' });
  }
}

/** After which a stream begins: in the request, else in its metadata; null = now. @throws ServiceError `invalid` */
function revisionOf(message: StreamConfigurationUpdatesRequest, call: RpcCall): number | null {
  const text = call.metadata(HEADER.revision);
  const given = Number(message.after_revision);
  if (given !== 0) return wholeNumber('after_revision', String(given));
  return text === undefined ? null : wholeNumber(HEADER.revision, text);
}

function wholeNumber(field: string, text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw invalid({ field, message: 'must be a whole number from 0' });
  return value;
}

function abortSignalOf(signal: CancelSignal): AbortSignal {
  const control = new AbortController();
  if (signal.aborted) control.abort(signal.reason);
  else signal.addEventListener('abort', () => control.abort(signal.reason), { once: true });
  return control.signal;
}
