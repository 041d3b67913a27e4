import { checkForm, type Fields, type Packed } from '../lib/packed.ts';
import type { AuthOperation } from './auth/operations.ts';
import { packPermission, unpackPermission } from './auth-rows.ts';

/** The log fields of the operations on users and roles, without their type number. */
export function packAuth(operation: AuthOperation): readonly Packed[] {
  switch (operation.type) {
    case 'auth-enable':
    case 'auth-disable':
      return [];
    case 'user-add':
      return [operation.name, operation.passwordHash, operation.noPassword];
    case 'user-change-password':
      return [operation.name, operation.passwordHash];
    case 'user-grant-role':
    case 'user-revoke-role':
      return [operation.name, operation.role];
    case 'user-delete':
    case 'role-add':
    case 'role-delete':
      return [operation.name];
    case 'role-grant-permission':
      return [operation.name, [packPermission(operation.permission)]];
    case 'role-revoke-permission':
      return [operation.name, operation.key, operation.rangeEnd];
  }
}

export function unpackAuth(type: AuthOperation['type'], fields: Fields): AuthOperation {
  switch (type) {
    case 'auth-enable':
    case 'auth-disable':
      return { type };
    case 'user-add':
      return {
        type,
        name: fields.text(),
        passwordHash: fields.text(),
        noPassword: fields.boolean(),
      };
    case 'user-change-password':
      return { type, name: fields.text(), passwordHash: fields.text() };
    case 'user-grant-role':
    case 'user-revoke-role':
      return { type, name: fields.text(), role: fields.text() };
    case 'user-delete':
    case 'role-add':
    case 'role-delete':
      return { type, name: fields.text() };
    case 'role-grant-permission': {
      const name = fields.text();
      const [permission, ...more] = fields.list(unpackPermission);
      checkForm(permission !== undefined && more.length === 0, 'a grant is of one permission');
      return { type, name, permission };
    }
    case 'role-revoke-permission':
      return { type, name: fields.text(), key: fields.bytes(), rangeEnd: fields.bytes() };
  }
}
