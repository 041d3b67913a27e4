import type { Permission } from './permission.ts';

/**
 * What changes users, roles and permissions, as commands carry it. Passwords come hashed: what they were stands in no
 * log.
 */
export type AuthOperation =
  | { readonly type: 'auth-enable' }
  | { readonly type: 'auth-disable' }
  /** `passwordHash` is empty with `noPassword`: such a user signs in by certificate only. */
  | {
      readonly type: 'user-add';
      readonly name: string;
      readonly passwordHash: string;
      readonly noPassword: boolean;
    }
  | { readonly type: 'user-delete'; readonly name: string }
  /** With an empty hash no password fits any more. */
  | { readonly type: 'user-change-password'; readonly name: string; readonly passwordHash: string }
  | { readonly type: 'user-grant-role'; readonly name: string; readonly role: string }
  | { readonly type: 'user-revoke-role'; readonly name: string; readonly role: string }
  | { readonly type: 'role-add'; readonly name: string }
  | { readonly type: 'role-delete'; readonly name: string }
  | { readonly type: 'role-grant-permission'; readonly name: string; readonly permission: Permission }
  | {
      readonly type: 'role-revoke-permission';
      readonly name: string;
      readonly key: Buffer;
      readonly rangeEnd: Buffer;
    };

/** Who asks, and as of which revision of users and roles that is known. */
export interface Principal {
  /** Empty = nobody signed in. */
  readonly user: string;
  readonly revision: number;
}

/** A client that did not sign in. */
export const ANONYMOUS: Principal = { user: '', revision: 0 };

/** The members themselves. No user can have this name. */
export const INTERNAL_USER = '\0';
export const INTERNAL: Principal = { user: INTERNAL_USER, revision: 0 };

/** Whether an operation can take something away from somebody. */
export function narrows({ type }: AuthOperation): boolean {
  switch (type) {
    case 'auth-disable':
    case 'user-add':
    case 'user-grant-role':
    case 'role-add':
      return false;
    default:
      return true;
  }
}
