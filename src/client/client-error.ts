/** What became of a call, in gRPC's words. */
export type ClientErrorCode =
  | 'canceled'
  | 'unknown'
  | 'invalid-argument'
  | 'deadline-exceeded'
  | 'not-found'
  | 'already-exists'
  | 'permission-denied'
  | 'resource-exhausted'
  | 'failed-precondition'
  | 'aborted'
  | 'out-of-range'
  | 'unimplemented'
  | 'internal'
  | 'unavailable'
  | 'data-loss'
  | 'unauthenticated';

/** By gRPC's numbers, from 1. */
const CODES: readonly ClientErrorCode[] = [
  'canceled',
  'unknown',
  'invalid-argument',
  'deadline-exceeded',
  'not-found',
  'already-exists',
  'permission-denied',
  'resource-exhausted',
  'failed-precondition',
  'aborted',
  'out-of-range',
  'unimplemented',
  'internal',
  'unavailable',
  'data-loss',
  'unauthenticated',
];

/**
 * A call that failed. The message is the server's own text (`etcdserver: ...`) where one answered. A mutating call
 * that is `uncertain` may have taken effect all the same.
 */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly code: ClientErrorCode;
  /** True when the call surely reached no member. */
  readonly unsent: boolean;
  /** True when a mutating call was sent and nobody knows what became of it. */
  readonly uncertain: boolean;
  /** Of a watch whose start was compacted away: the first revision still there. */
  readonly compactRevision: number | undefined;

  constructor(
    code: ClientErrorCode,
    message: string,
    more: {
      readonly unsent?: boolean;
      readonly uncertain?: boolean;
      readonly compactRevision?: number;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.unsent = more.unsent ?? false;
    this.uncertain = more.uncertain ?? false;
    this.compactRevision = more.compactRevision;
  }
}

/** Of a call that was given up before it was sent. */
export function canceled(): ClientError {
  return new ClientError('canceled', 'the call was canceled', { unsent: true });
}

/** Of a call whose client was closed before it was sent. */
export function clientClosed(): ClientError {
  return new ClientError('canceled', 'the client was closed', { unsent: true });
}

/** After these a change may or may not have been made. */
const UNCERTAIN: ReadonlySet<ClientErrorCode> = new Set([
  'canceled',
  'unknown',
  'deadline-exceeded',
  'internal',
  'unavailable',
]);

/** The error for a gRPC status number and its text, of a call that was sent. */
export function statusError(
  status: { readonly code: number; readonly details: string },
  more: { readonly cause: unknown; readonly mutating: boolean },
): ClientError {
  const code = CODES[status.code - 1] ?? 'unknown';
  const uncertain = more.mutating && UNCERTAIN.has(code);
  return new ClientError(code, status.details, { cause: more.cause, uncertain });
}

/** A failure of a stream as a ClientError; anything that is no gRPC status is passed through. */
export function asClientError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error) || !('details' in error)) return error;
  return statusError(
    { code: Number(error.code), details: String(error.details) },
    { cause: error, mutating: false },
  );
}
