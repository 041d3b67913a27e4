import { StoreError, type StoreErrorCode } from '../lib/errors.ts';
import { refusalOf } from '../member/auth/watch-guard.ts';
import { KvError, type KvErrorCode } from './kv.ts';

const CODES: Partial<Readonly<Record<StoreErrorCode, KvErrorCode>>> = {
  'empty-key': 'invalid-argument',
  'duplicate-key': 'invalid-argument',
  'lease-ttl-too-large': 'invalid-argument',
  'auth-not-enabled': 'invalid-argument',
  'too-many-ops': 'too-large',
  'request-too-large': 'too-large',
  compacted: 'compacted',
  'future-revision': 'future-revision',
  'lease-not-found': 'lease-not-found',
  'no-space': 'no-space',
  'too-many-requests': 'too-many-requests',
  'permission-denied': 'permission-denied',
  'auth-failed': 'unauthenticated',
  'auth-token-invalid': 'unauthenticated',
  'auth-revision-old': 'unauthenticated',
  'user-empty': 'unauthenticated',
  'no-leader': 'unavailable',
  'not-leader': 'unavailable',
  unhealthy: 'unavailable',
  'not-supported-for-learner': 'unavailable',
};

/** After these a write may or may not have been done. */
const UNCERTAIN: ReadonlySet<StoreErrorCode> = new Set([
  'leader-changed',
  'stopped',
  'timeout',
  'timeout-leader-failure',
  'timeout-connection-lost',
  'timeout-waiting-applied',
  'canceled',
  'deadline-exceeded',
  'storage',
]);

/** What a member's failure is to those who use the port; bugs stay what they are. */
export function kvErrorOf(error: unknown, isWrite: boolean): unknown {
  if (!(error instanceof StoreError)) return error;
  return new KvError(codeOf(error.code, isWrite), textOf(error), { cause: error });
}

/** Of failures whose code does not say it to people. */
const WORDS: Partial<Readonly<Record<StoreErrorCode, string>>> = {
  'auth-failed': 'authentication failed, invalid user ID or password',
  'auth-token-invalid': 'invalid auth token',
};

/** A code alone is for programs: people get the detail that stands behind it, or words for it. */
function textOf({ code, message }: StoreError): string {
  if (message !== code) return message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
  return WORDS[code] ?? code.replaceAll('-', ' ');
}

/** Why a watch was refused or ended by the member, whose texts those are that clients get. */
export function watchErrorOf({
  reason,
  compactRevision,
}: {
  readonly reason: string;
  readonly compactRevision: number;
}): KvError {
  if (compactRevision > 0) return new KvError('compacted', reason, { compactRevision });
  const refusal = refusalOf(reason);
  if (refusal !== undefined) return new KvError(codeOf(refusal, false), reason);
  return new KvError(reason.endsWith('too many requests') ? 'too-many-requests' : 'internal', reason);
}

function codeOf(code: StoreErrorCode, isWrite: boolean): KvErrorCode {
  if (UNCERTAIN.has(code)) return isWrite ? 'ambiguous' : 'unavailable';
  return CODES[code] ?? 'internal';
}
