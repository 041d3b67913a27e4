import type { StoreErrorCode } from '../lib/errors.ts';
import type { Principal } from './auth/operations.ts';
import { type AccessState, leaseRefusal, opRefusal } from './auth/txn-access.ts';
import type { Operation } from './command.ts';

/**
 * Why a principal may not do this, or null: decided at the entry's index, from replicated data only, so that no change
 * of users or roles can slip in between the decision and the deed.
 */
export function authRefusal(
  operation: Operation,
  principal: Principal,
  state: AccessState,
): StoreErrorCode | null {
  const { auth } = state;
  if (!auth.enabled) return null;
  switch (operation.type) {
    case 'put':
    case 'delete-range':
    case 'txn':
      return opRefusal(state, principal, operation);
    case 'lease-grant':
      return auth.userRefusal(principal);
    case 'lease-revoke':
      return auth.userRefusal(principal) ?? leaseRefusal(state, principal, operation.id);
    // Only members propose these.
    case 'lease-expire':
    case 'lease-checkpoint':
    case 'member-publish':
      return null;
    // Who asks is proved by the password; whether that still holds is decided where it is applied.
    case 'authenticate':
      return null;
    default:
      return auth.rootRefusal(principal);
  }
}
