import { keysOf } from '../mvcc/key-range.ts';

export type PermissionKind = 'read' | 'write' | 'read-write';

/** What a role may do with a key (empty `rangeEnd`), a range, or everything from a key on (`rangeEnd` `\0`). */
export interface Permission {
  readonly kind: PermissionKind;
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
}

/** Whether a permission can name this range: it has a first key, and is not empty. */
export function isGrantable(permission: Pick<Permission, 'key' | 'rangeEnd'>): boolean {
  if (permission.key.length === 0) return false;
  const { key, end } = keysOf(permission);
  return end === null || key < end;
}

/** By key, then by end: the order in which a role's permissions are kept and shown. */
export function comparePermissions(left: Permission, right: Permission): number {
  return left.key.compare(right.key) || left.rangeEnd.compare(right.rangeEnd);
}

/** Whether both are about the very same range. */
export function sameRange(
  left: Pick<Permission, 'key' | 'rangeEnd'>,
  right: Pick<Permission, 'key' | 'rangeEnd'>,
): boolean {
  return left.key.equals(right.key) && left.rangeEnd.equals(right.rangeEnd);
}
