import type { StoreErrorCode } from '../lib/errors.ts';
import type { AlarmTable } from './alarms.ts';
import type { Operation } from './command.ts';
import type { TxnRequest } from './mvcc/operations.ts';

/**
 * Why raised alarms forbid an operation, or null (RELIABILITY K12, P56). Decided from replicated data only.
 *
 * `corrupt` stops every write; `no-space` whatever may grow the data: deletes, reads, compaction and the expiry of
 * leases go on, and so does everything that gets a cluster out of an alarm.
 */
export function alarmRefusal(operation: Operation, alarms: AlarmTable): StoreErrorCode | null {
  if (alarms.active('corrupt') && writesData(operation)) return 'corrupt';
  if (alarms.active('no-space') && growsData(operation)) return 'no-space';
  return null;
}

function writesData(operation: Operation): boolean {
  switch (operation.type) {
    case 'put':
    case 'delete-range':
    case 'txn':
    case 'compact':
    case 'lease-grant':
    case 'lease-revoke':
    case 'lease-expire':
      return true;
    default:
      return false;
  }
}

function growsData(operation: Operation): boolean {
  switch (operation.type) {
    case 'put':
    case 'lease-grant':
      return true;
    case 'txn':
      return txnPuts(operation);
    default:
      return false;
  }
}

/** A put in either branch counts, at any depth: which branch runs may depend on the data. */
function txnPuts(txn: TxnRequest): boolean {
  return [...txn.success, ...txn.failure].some(
    (op) => op.type === 'put' || (op.type === 'txn' && txnPuts(op)),
  );
}
