import { type RpcStatusCode, rpcStatus } from '../rpc/status.ts';
import type { ServiceErrorCode } from '../service/service-error.ts';

/** What a failure of the configuration service becomes on the wire, the same for every face. */
export interface ServiceErrorMapping {
  readonly http: number;
  readonly status: RpcStatusCode;
  /** In a few words, the same for every failure of the code (RFC 9457, `title`). */
  readonly title: string;
  /** `safe`: nothing was done, trying again may succeed. `ambiguous`: a change may have been made. */
  readonly retryable: 'never' | 'safe' | 'ambiguous';
}

/** The one table from the service's error codes to the wire. Every code has a row: the type says so. */
const TABLE: Readonly<Record<ServiceErrorCode, ServiceErrorMapping>> = {
  invalid: never(400, rpcStatus.invalidArgument, 'The request is wrong'),
  'not-found': never(404, rpcStatus.notFound, 'There is no such thing'),
  exists: never(409, rpcStatus.alreadyExists, 'It is there already'),
  conflict: never(409, rpcStatus.failedPrecondition, 'The present state does not allow it'),
  'precondition-failed': never(412, rpcStatus.failedPrecondition, 'It was changed by somebody else'),
  'idempotency-mismatch': never(
    422,
    rpcStatus.invalidArgument,
    'The idempotency key was used for another request',
  ),
  'too-large': never(413, rpcStatus.invalidArgument, 'The request is too large'),
  unauthenticated: never(401, rpcStatus.unauthenticated, 'Authentication required'),
  forbidden: never(403, rpcStatus.permissionDenied, 'Not permitted'),
  gone: never(410, rpcStatus.outOfRange, 'It was not kept'),
  'too-many-requests': safe(429, rpcStatus.resourceExhausted, 'Too many requests'),
  'no-space': never(507, rpcStatus.resourceExhausted, 'There is no space left'),
  unavailable: safe(503, rpcStatus.unavailable, 'The store does not answer'),
  ambiguous: {
    http: 504,
    status: rpcStatus.unavailable,
    title: 'Whether it was done is not known',
    retryable: 'ambiguous',
  },
  // As nginx has it: nobody reads this answer.
  canceled: safe(499, rpcStatus.canceled, 'The caller went away'),
};

/** Every code, in the table's order. */
export const SERVICE_ERROR_CODES: readonly ServiceErrorCode[] = Object.keys(TABLE) as ServiceErrorCode[];

/** The row of a code. */
export function serviceErrorMapping(code: ServiceErrorCode): ServiceErrorMapping {
  return TABLE[code];
}

function never(http: number, status: RpcStatusCode, title: string): ServiceErrorMapping {
  return { http, status, title, retryable: 'never' };
}

function safe(http: number, status: RpcStatusCode, title: string): ServiceErrorMapping {
  return { http, status, title, retryable: 'safe' };
}
