import type { Kv } from '../../kv/kv.ts';
import { SharedBytes } from '../../lib/shared-bytes.ts';
import { codec } from '../../rpc/codec.ts';
import type { StreamConfigurationUpdatesRequest } from '../../rpc/generated/config/v1/configuration.ts';
import type { RpcCall, RpcServer } from '../../rpc/server.ts';
import { serverStream, unary } from '../../rpc/service.ts';
import { RpcError } from '../../rpc/status.ts';
import type { Caller } from '../../service/caller.ts';
import type { Registration } from '../../service/delivery/instances.ts';
import { environmentId } from '../../service/environments/spelling.ts';
import { type Cursor, parseCursor } from '../../service/events/cursor.ts';
import type { ConfigurationEvent } from '../../service/events/event.ts';
import type { Scope } from '../../service/model.ts';
import type { Consistency } from '../../service/projection.ts';
import type { Service } from '../../service/service.ts';
import { invalid, ServiceError } from '../../service/service-error.ts';
import { Identity } from '../identity.ts';
import { serviceErrorMapping } from '../service-errors.ts';
import { abortSignalOf, shownBy } from './calls.ts';
import { CONFIGURATION_SERVICE, HEADER } from './metadata.ts';
import { contextOf, wireCheck, wireConfiguration, wireUpdate } from './translate.ts';

export interface ConfigurationFaceOptions {
  readonly service: Service;
  /** Where callers are known. */
  readonly kv: Pick<Kv, 'authEnabled' | 'signIn' | 'permits'>;
  /** Of calls that do not say. */
  readonly tenant: string;
  readonly requireIdentity: boolean;
}

/** Updates that are kept as they go out, for all who take the same ones. */
export const SHARED_UPDATES_BYTES_MAX: number = 16 * 1024 * 1024;
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

  unary(server, `/${CONFIGURATION_SERVICE}/CheckFeatureFlag`, (message, call) =>
    face.answer(call, async (caller) => {
      const { result, revision } = await service.flagReads.check(caller, {
        scope: face.scopeOf(message, call),
        key: message.key,
        context: contextOf(message),
        consistency: consistencyOf(call),
      });
      call.setTrailer(HEADER.revision, String(revision));
      return wireCheck(result);
    }),
  );

  const wire = codec('config.v1.ConfigurationUpdate');
  const shared = new SharedBytes(
    (event: ConfigurationEvent) => wire.encode(wireUpdate(event)),
    SHARED_UPDATES_BYTES_MAX,
  );

  serverStream(server, `/${CONFIGURATION_SERVICE}/StreamConfigurationUpdates`, (message, call, out) =>
    face.answer(call, async (caller) => {
      const scope = face.scopeOf(message, call);
      const keys = message.keys.length === 0 ? undefined : message.keys;
      const cursor = cursorOf(message, call);
      const stream = await service.events.subscribe(caller, { filter: { ...scope, keys }, cursor });
      const instance = await registered(service, { caller, call, scope });
      try {
        call.sendHeaders([[HEADER.revision, String(stream.position)]]);
        for await (const { events } of stream) {
          for (const event of events) {
            out.bytes.write(shared.of(event));
            if (!out.bytes.writable) await out.bytes.drained();
          }
        }
      } finally {
        stream.close();
        instance?.close();
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

/** Behind which a stream begins: in the request, else in its metadata; undefined = now. @throws ServiceError `invalid` */
function cursorOf(message: StreamConfigurationUpdatesRequest, call: RpcCall): Cursor | undefined {
  if (message.after_cursor !== '') return parseCursor(message.after_cursor, 'after_cursor');
  const given = Number(message.after_revision);
  if (given !== 0) return parseCursor(String(given), 'after_revision');
  const text = call.metadata(HEADER.revision);
  return text === undefined ? undefined : parseCursor(text, HEADER.revision);
}

/** The instance that takes the stream, if the call names one. @throws ServiceError as `Delivery.register` */
async function registered(
  { delivery }: Service,
  { caller, call, scope }: { readonly caller: Caller; readonly call: RpcCall; readonly scope: Scope },
): Promise<Registration | null> {
  const id = call.metadata(HEADER.instance);
  if (id === undefined) return null;
  const version = call.metadata(HEADER.instanceVersion) ?? '';
  const region = call.metadata(HEADER.instanceRegion) ?? '';
  return delivery.register(caller, { ...scope, id, version, region }, { signal: caller.signal });
}

function wholeNumber(field: string, text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw invalid({ field, message: 'must be a whole number from 0' });
  return value;
}
