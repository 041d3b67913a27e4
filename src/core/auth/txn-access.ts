import type { StoreErrorCode } from '../../lib/errors.ts';
import type { PutRequest, RequestOp, TxnRequest } from '../mvcc/operations.ts';
import type { AuthStore } from './auth-store.ts';
import type { Principal } from './operations.ts';

/** What a decision about a request needs to know. */
export interface AccessState {
  readonly auth: AuthStore;
  /** The keys attached to a lease; none for an unknown one. */
  readonly leaseKeys: (id: bigint) => readonly Buffer[];
}

const ONE_KEY = Buffer.alloc(0);

/**
 * Why a principal may not do this, or null. A transaction is allowed as a whole or not at all: all comparisons and
 * both branches count, nested ones included, whichever would run.
 */
export function opRefusal(state: AccessState, principal: Principal, op: RequestOp): StoreErrorCode | null {
  const { auth } = state;
  if (!auth.enabled) return null;
  switch (op.type) {
    case 'range':
      return auth.refusal(principal, 'read', op);
    case 'put':
      return putRefusal(state, principal, op);
    case 'delete-range':
      return auth.refusal(principal, 'write', op) ?? (op.prevKv ? auth.refusal(principal, 'read', op) : null);
    case 'txn':
      return txnRefusal(state, principal, op);
  }
}

/**
 * Why a principal may not end a lease, renew it or put a key under it, or null: it must be able to write every key that
 * would go with the lease.
 */
export function leaseRefusal(state: AccessState, principal: Principal, id: bigint): StoreErrorCode | null {
  return leaseKeysRefusal(state, principal, { id, access: 'write' });
}

/** Why a principal may not learn which keys a lease has, or null. */
export function leaseReadRefusal(
  state: AccessState,
  principal: Principal,
  id: bigint,
): StoreErrorCode | null {
  return leaseKeysRefusal(state, principal, { id, access: 'read' });
}

/** Why a principal may not learn which leases there are, or null: root may, and who may read every key of every one. */
export function leasesReadRefusal(
  state: AccessState,
  principal: Principal,
  ids: () => readonly bigint[],
): StoreErrorCode | null {
  if (!state.auth.enabled || state.auth.rootRefusal(principal) === null) return null;
  for (const id of ids()) {
    const refusal = leaseReadRefusal(state, principal, id);
    if (refusal !== null) return refusal;
  }
  return null;
}

function leaseKeysRefusal(
  { auth, leaseKeys }: AccessState,
  principal: Principal,
  { id, access }: { readonly id: bigint; readonly access: 'read' | 'write' },
): StoreErrorCode | null {
  if (!auth.enabled || auth.rootRefusal(principal) === null) return null;
  for (const key of leaseKeys(id)) {
    const refusal = auth.refusal(principal, access, { key, rangeEnd: ONE_KEY });
    if (refusal !== null) return refusal;
  }
  return null;
}

function putRefusal(state: AccessState, principal: Principal, put: PutRequest): StoreErrorCode | null {
  const one = { key: put.key, rangeEnd: ONE_KEY };
  return (
    state.auth.refusal(principal, 'write', one) ??
    // Otherwise a key could be tied to a lease that its writer may not end.
    (put.lease === 0n ? null : leaseRefusal(state, principal, put.lease)) ??
    (put.prevKv ? state.auth.refusal(principal, 'read', one) : null)
  );
}

function txnRefusal(state: AccessState, principal: Principal, txn: TxnRequest): StoreErrorCode | null {
  for (const compare of txn.compare) {
    const refusal = state.auth.refusal(principal, 'read', compare);
    if (refusal !== null) return refusal;
  }
  for (const op of [...txn.success, ...txn.failure]) {
    const refusal = opRefusal(state, principal, op);
    if (refusal !== null) return refusal;
  }
  return null;
}
