import type { CancelSignal } from './cancellation.ts';
/**
 * Every operational failure that a caller can be told about, by a stable code. What each becomes on the wire
 * (gRPC status, text, HTTP status, retryable) stands in one table, `api/errors.ts`.
 */
export type StoreErrorCode =
  // The request itself is wrong.
  | 'empty-key'
  | 'key-not-found'
  | 'value-provided'
  | 'lease-provided'
  | 'too-many-ops'
  | 'duplicate-key'
  | 'invalid-sort-option'
  | 'request-too-large'
  | 'member-bad-urls'
  | 'compacted'
  | 'future-revision'
  | 'lease-not-found'
  | 'lease-exists'
  | 'lease-ttl-too-large'
  | 'lease-ttl-too-small'
  | 'member-not-found'
  | 'member-exists'
  | 'peer-url-exists'
  | 'member-not-learner'
  | 'learner-not-ready'
  | 'too-many-learners'
  | 'cluster-id-mismatch'
  | 'unhealthy'
  | 'not-enough-started-members'
  | 'bad-leader-transferee'
  | 'not-supported-for-learner'
  // Who asks, and what he may do.
  | 'root-user-missing'
  | 'root-role-missing'
  | 'user-exists'
  | 'user-empty'
  | 'user-not-found'
  | 'role-exists'
  | 'role-empty'
  | 'role-not-found'
  | 'role-not-granted'
  | 'auth-failed'
  | 'auth-not-enabled'
  | 'auth-management-invalid'
  | 'auth-revision-old'
  | 'auth-token-invalid'
  | 'permission-not-given'
  | 'permission-not-granted'
  | 'permission-denied'
  // The cluster cannot serve it now.
  | 'no-space'
  | 'corrupt'
  | 'too-many-requests'
  | 'no-leader'
  | 'not-leader'
  | 'leader-changed'
  | 'stopped'
  | 'timeout'
  | 'timeout-leader-failure'
  | 'timeout-connection-lost'
  | 'timeout-waiting-applied'
  | 'canceled'
  | 'deadline-exceeded'
  | 'unimplemented'
  // This member's own disk or data.
  | 'storage'
  | 'data-dir-corrupt'
  | 'data-dir-foreign'
  | 'data-dir-in-use'
  | 'data-dir-exists'
  | 'member-data-lost'
  | 'bad-options';

/** An operational failure with a stable code. Bugs are `AssertionError`s instead. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;

  /** @param detail what a person needs besides the code; never part of the wire text that clients match on */
  constructor(code: StoreErrorCode, detail?: string, options?: ErrorOptions) {
    super(detail === undefined ? code : `${code}: ${detail}`, options);
    this.code = code;
  }
}

/** Why a signal was aborted, as the StoreError its caller gave, else `canceled`. */
export function abortError(signal: CancelSignal): StoreError {
  return signal.reason instanceof StoreError ? signal.reason : new StoreError('canceled');
}
