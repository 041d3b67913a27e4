import { KvError, type KvErrorCode } from '../kv/kv.ts';
import { ServiceError, type ServiceErrorCode } from './service-error.ts';

/** What the store's failures are to a caller of the service; those left out are bugs of the service. */
const CODES: Readonly<Partial<Record<KvErrorCode, ServiceErrorCode>>> = {
  compacted: 'gone',
  'too-large': 'too-large',
  'no-space': 'no-space',
  unauthenticated: 'unauthenticated',
  'permission-denied': 'forbidden',
  'too-many-requests': 'too-many-requests',
  unavailable: 'unavailable',
  ambiguous: 'ambiguous',
  canceled: 'canceled',
  closed: 'unavailable',
};

/** The failure in the service's words; what is not the store's stays as it is. */
export function serviceErrorOf(error: unknown): unknown {
  if (!(error instanceof KvError)) return error;
  const code = CODES[error.code];
  return code === undefined ? error : new ServiceError(code, error.message, { cause: error });
}

/** Runs a call of the store. @throws ServiceError in place of the store's own failures */
export async function asService<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw serviceErrorOf(error);
  }
}
