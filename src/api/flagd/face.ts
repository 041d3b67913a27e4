import type { RpcCall } from '../../rpc/server.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';
import type { Caller } from '../../service/caller.ts';
import type { Scope } from '../../service/model.ts';
import type { Service } from '../../service/service.ts';
import { ServiceError } from '../../service/service-error.ts';
import { abortSignalOf, shownBy } from '../config/calls.ts';
import { HEADER } from '../config/metadata.ts';
import { EVALUATION_BYTES_MAX, type SaidScope, scopeOf } from '../flag-scope.ts';
import { Identity, type IdentityOptions } from '../identity.ts';
import { serviceErrorMapping } from '../service-errors.ts';
import { readSelector } from './selector.ts';

export interface FlagFaceOptions {
  readonly service: Pick<Service, 'flagReads' | 'flagUsage' | 'usageReports'>;
  /** Where callers are known. */
  readonly kv: IdentityOptions['kv'];
  /** Of calls that do not say: their tenant, and their environment by its id. */
  readonly tenant: string;
  readonly environment: string;
  readonly requireIdentity: boolean;
}

/** What all methods about flags have in common: who calls, whose flags are meant, how failures are told. */
export class FlagFace {
  readonly tenant: string;
  readonly #environment: string;
  readonly #identity: Identity;

  constructor({ kv, tenant, environment, requireIdentity }: FlagFaceOptions) {
    this.tenant = tenant;
    this.#environment = environment;
    this.#identity = new Identity({ kv, requireIdentity });
  }

  /** Serves a call in the name of whoever makes it. @throws RpcError in place of the service's failures */
  async answer<T>(call: RpcCall, work: (caller: Caller) => Promise<T>): Promise<T> {
    const signal = abortSignalOf(call.signal);
    try {
      return await work(await this.#identity.callerOf(shownBy(call), signal));
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      // To flagd's clients `invalid-argument` says that a flag has another type than they asked for.
      const { status } = serviceErrorMapping(error.code);
      const code = status === rpcStatus.invalidArgument ? rpcStatus.failedPrecondition : status;
      throw new RpcError(code, error.message);
    }
  }

  /** By the selector, else by our own headers, else by the request. @throws ServiceError `invalid` */
  scopeOf(call: RpcCall, request: SaidScope & { readonly selector?: string } = {}): Scope {
    return scopeOf(this.#said(call, request), {
      tenant: this.tenant,
      environment: this.#environment,
      how: `${HEADER.flagdSelector}: application=...,environment=...`,
    });
  }

  /** Whether the call says at all whose flags are meant. @throws ServiceError `invalid` */
  hasScope(call: RpcCall): boolean {
    return this.#said(call, {}).some(({ application }) => application !== undefined && application !== '');
  }

  /** Of a call that says nothing more. */
  tenantOf(call: RpcCall): string {
    return call.metadata(HEADER.tenant) ?? this.tenant;
  }

  #said(
    call: RpcCall,
    { selector = '', ...request }: SaidScope & { readonly selector?: string },
  ): readonly SaidScope[] {
    const headers = {
      tenant: call.metadata(HEADER.tenant),
      application: call.metadata(HEADER.application),
      environment: call.metadata(HEADER.environment),
    };
    return [
      readSelector(call.metadata(HEADER.flagdSelector) ?? ''),
      readSelector(selector),
      headers,
      request,
    ];
  }
}

/** @throws ServiceError `too-large` */
export function checkRequestBytes(bytes: number): void {
  if (bytes <= EVALUATION_BYTES_MAX) return;
  throw new ServiceError('too-large', `the request has more than ${EVALUATION_BYTES_MAX} bytes`);
}
