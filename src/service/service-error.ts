/**
 * Every way a request to the configuration service can fail for its caller. What each becomes on the wire stands in one
 * table of the faces.
 */
export type ServiceErrorCode =
  /** The request is wrong; `problems` names the fields. */
  | 'invalid'
  | 'not-found'
  /** Something of this name is there already. */
  | 'exists'
  /** The thing is not in the state that the request assumes: another old value, conflicts of a merge, a lock. */
  | 'conflict'
  /** `If-Match` names another revision. */
  | 'precondition-failed'
  /** The idempotency key was used for another request. */
  | 'idempotency-mismatch'
  | 'too-large'
  | 'unauthenticated'
  | 'forbidden'
  /** The revision to go on from is no longer known. */
  | 'gone'
  | 'too-many-requests'
  | 'no-space'
  /** Nothing was done; trying again may succeed. */
  | 'unavailable'
  /** A change may have been made; the same request under the same idempotency key tells. */
  | 'ambiguous'
  | 'canceled';

/** What is wrong with one field: its path as the caller wrote it, like `value` or `items/3/key`. */
export interface FieldProblem {
  readonly field: string;
  readonly message: string;
}

/** A failure with its code; its message is for people. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  readonly code: ServiceErrorCode;
  readonly problems: readonly FieldProblem[];

  constructor(
    code: ServiceErrorCode,
    message: string,
    options: ErrorOptions & { readonly problems?: readonly FieldProblem[] } = {},
  ) {
    super(message, options);
    this.code = code;
    this.problems = options.problems ?? [];
  }
}

/** The request is wrong in these fields; an empty one is the whole of it. */
export function invalid(...problems: readonly FieldProblem[]): ServiceError {
  const message = problems
    .map(({ field, message: text }) => (field === '' ? text : `${field}: ${text}`))
    .join('; ');
  return new ServiceError('invalid', message, { problems });
}
