import type { FieldValue, Operation } from './operations.ts';
import { canonical, type Plain } from './plain.ts';
import type { Outcome } from './side.ts';

/** A difference that is meant: the table in docs/etcd-compatibility.md names each by `id`. */
interface Rule {
  readonly id: string;
  readonly applies: (operation: Operation, reference: Outcome, ours: Outcome) => boolean;
}

const RULES: readonly Rule[] = [
  {
    id: 'unknown-sort-option',
    applies: (operation, _reference, ours) =>
      operation.type === 'call' &&
      operation.path === 'KV/Range' &&
      isBeyond(operation.request['sort_order'], 2) &&
      isStatus(ours, 3, 'etcdserver: invalid sort option'),
  },
  {
    id: 'hash-revision',
    applies: (operation, reference, ours) =>
      operation.type === 'call' &&
      operation.path === 'Maintenance/HashKV' &&
      sameBut('hash_revision', reference, ours),
  },
  {
    id: 'hash-at-compacted-revision',
    applies: (operation, reference, ours) =>
      operation.type === 'call' &&
      operation.path === 'Maintenance/HashKV' &&
      isStatus(reference, 11, 'etcdserver: mvcc: required revision has been compacted') &&
      isHashOfCompacted(ours),
  },
  {
    id: 'alarm-header',
    applies: (operation, reference, ours) =>
      operation.type === 'call' &&
      operation.path === 'Maintenance/Alarm' &&
      sameBut('header', reference, ours),
  },
  {
    id: 'member-update-checks-addresses',
    applies: (operation, reference, ours) =>
      operation.type === 'call' &&
      operation.path === 'Cluster/MemberUpdate' &&
      isStatus(reference, 5, 'etcdserver: member not found') &&
      isStatus(ours, 3, 'etcdserver: given member URLs are invalid'),
  },
  {
    id: 'password-for-who-has-none',
    applies: (operation, reference, ours) =>
      operation.type === 'login' &&
      isStatus(reference, 2, 'auth: authentication failed, password was given for no password user') &&
      isStatus(ours, 3, 'etcdserver: authentication failed, invalid user ID or password'),
  },
  {
    id: 'size-before-token',
    applies: (_operation, reference, ours) =>
      isStatus(reference, 16, 'etcdserver: invalid auth token') &&
      isStatus(ours, 3, 'etcdserver: request is too large'),
  },
  {
    id: 'root-role-shown',
    applies: (operation, reference, ours) =>
      operation.type === 'call' &&
      operation.path === 'Auth/RoleGet' &&
      operation.request['role'] === 'root' &&
      sameBut('perm', reference, ours),
  },
  {
    id: 'transaction-check-order',
    applies: (operation, reference, ours) =>
      operation.type === 'call' &&
      operation.path === 'KV/Txn' &&
      PUT_REFUSALS.some(([code, text]) => isStatus(reference, code, text)) &&
      RANGE_REFUSALS.some(([code, text]) => isStatus(ours, code, text)),
  },
];

/** etcd 3.4 checks all puts of a transaction before its ranges; 3.6 and we go through them in order. */
const PUT_REFUSALS = [
  [3, 'etcdserver: key not found'],
  [5, 'etcdserver: requested lease not found'],
] as const;
const RANGE_REFUSALS = [
  [11, 'etcdserver: mvcc: required revision has been compacted'],
  [11, 'etcdserver: mvcc: required revision is a future revision'],
] as const;

/** The ids of all rules, that of what watches hear (`comparison.ts`) included. */
export const RULE_IDS: readonly string[] = [...RULES.map(({ id }) => id), 'delete-at-compaction'];

/** The id of the rule that explains two answers, or null. */
export function intended(operation: Operation, reference: Outcome, ours: Outcome): string | null {
  return RULES.find((rule) => rule.applies(operation, reference, ours))?.id ?? null;
}

function isBeyond(value: FieldValue | undefined, max: number): boolean {
  return typeof value === 'number' && (value < 0 || value > max);
}

function isStatus(outcome: Outcome, code: number, text: string): boolean {
  return !outcome.ok && outcome.code === code && outcome.text === text;
}

/** Equal but for a field that etcd 3.4 does not have. */
function sameBut(field: string, reference: Outcome, ours: Outcome): boolean {
  if (!reference.ok || !ours.ok) return false;
  const { [field]: _, ...rest } = ours.answer as { readonly [name: string]: Plain };
  return canonical(rest) === canonical(reference.answer);
}

function isHashOfCompacted(outcome: Outcome): boolean {
  if (!outcome.ok) return false;
  const { compact_revision: compacted, hash_revision: hashed } = outcome.answer as {
    readonly compact_revision?: string;
    readonly hash_revision?: string;
  };
  return compacted !== undefined && compacted === hashed;
}
