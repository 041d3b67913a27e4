import { ClientError, type ClientErrorCode } from '../client/client-error.ts';
import { KvError, type KvErrorCode } from './kv.ts';

/** Where the text says more than the code does: etcd's own, without `etcdserver: ` and `mvcc: ` before it. */
const BY_TEXT: Readonly<Record<string, KvErrorCode>> = {
  'too many operations in txn request': 'too-large',
  'request is too large': 'too-large',
  'required revision has been compacted': 'compacted',
  'required revision is a future revision': 'future-revision',
  'requested lease not found': 'lease-not-found',
  'database space exceeded': 'no-space',
  'user name is empty': 'unauthenticated',
  'authentication failed, invalid user ID or password': 'unauthenticated',
  'revision of auth store is old': 'unauthenticated',
  'authentication is not enabled': 'invalid-argument',
  'too large lease TTL': 'invalid-argument',
};

const BY_CODE: Partial<Readonly<Record<ClientErrorCode, KvErrorCode>>> = {
  'invalid-argument': 'invalid-argument',
  'permission-denied': 'permission-denied',
  unauthenticated: 'unauthenticated',
  'resource-exhausted': 'too-many-requests',
  unavailable: 'unavailable',
  'deadline-exceeded': 'unavailable',
  canceled: 'unavailable',
  unknown: 'unavailable',
};

/** What a failure of the client is to those who use the port; bugs stay what they are. */
export function kvErrorOf(error: unknown): unknown {
  if (!(error instanceof ClientError)) return error;
  const { compactRevision, message } = error;
  const text = message.replace(/^(?:etcdserver: )?(?:mvcc: )?/, '');
  const options = { cause: error, ...(compactRevision !== undefined && { compactRevision }) };
  return new KvError(codeOf(error, text), message, options);
}

function codeOf({ code, uncertain }: ClientError, text: string): KvErrorCode {
  const told = Object.hasOwn(BY_TEXT, text) ? BY_TEXT[text] : undefined;
  if (told !== undefined) return told;
  if (uncertain) return 'ambiguous';
  // Of the connection, which takes messages up to a size.
  if (code === 'resource-exhausted' && text.includes('larger than max')) return 'too-large';
  return BY_CODE[code] ?? 'internal';
}
