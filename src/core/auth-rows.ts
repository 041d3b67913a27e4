import { checkForm, Fields, type Packed, pack, unpack } from '../lib/packed.ts';
import type { AuthRecord, Role, User } from './auth/auth-store.ts';
import type { Permission, PermissionKind } from './auth/permission.ts';
import type { TableRow } from './state.ts';
import { removalOf } from './table-rows.ts';

/**
 * How users, roles and the auth settings look on disk and in snapshots. The id's first byte says which of them a row
 * is. Reading throws MalformedErrors.
 */

const VALUE_VERSION = 1;
// Letters on disk: never reused.
const SETTINGS = 's'.charCodeAt(0);
const USER = 'u'.charCodeAt(0);
const ROLE = 'r'.charCodeAt(0);
// Positions are the numbers on disk and in the log: only ever append.
const PERMISSION_KINDS = ['read', 'write', 'read-write'] as const satisfies readonly PermissionKind[];

export function authRow(record: AuthRecord): TableRow {
  switch (record.type) {
    case 'settings': {
      const { enabled, revision, enabledRevision } = record.settings;
      return row(SETTINGS, '', [enabled, revision, enabledRevision]);
    }
    case 'user': {
      const { name, passwordHash, noPassword, roles, credentialRevision } = record.user;
      return row(USER, name, [passwordHash, noPassword, roles, credentialRevision]);
    }
    case 'role':
      return row(ROLE, record.role.name, [record.role.permissions.map(packPermission)]);
  }
}

/** What takes the place of a record whose user or role is gone. */
export function authRemoval(record: AuthRecord): TableRow {
  return removalOf(authRow(record));
}

export function readAuthRow({ id, value }: TableRow): AuthRecord {
  checkForm(value !== null && id.length > 0, 'an auth row without an id or a value');
  const name = id.subarray(1).toString();
  checkForm(Buffer.byteLength(name) === id.length - 1, 'an auth row has a malformed name');
  const fields = new Fields(unpack(value));
  checkForm(fields.natural() === VALUE_VERSION, 'an auth row is of an unknown version');
  const record = readRecord(id[0]!, name, fields);
  fields.end();
  return record;
}

export function packPermission({ kind, key, rangeEnd }: Permission): Packed {
  return [PERMISSION_KINDS.indexOf(kind), key, rangeEnd];
}

export function unpackPermission(value: Packed): Permission {
  const fields = new Fields(value);
  const permission = {
    kind: fields.oneOf(PERMISSION_KINDS),
    key: fields.bytes(),
    rangeEnd: fields.bytes(),
  };
  fields.end();
  return permission;
}

function readRecord(letter: number, name: string, fields: Fields): AuthRecord {
  switch (letter) {
    case SETTINGS: {
      checkForm(name === '', 'the auth settings have a name');
      const settings = {
        enabled: fields.boolean(),
        revision: fields.natural(),
        enabledRevision: fields.natural(),
      };
      return { type: 'settings', settings };
    }
    case USER:
      return { type: 'user', user: readUser(name, fields) };
    case ROLE: {
      const role: Role = { name, permissions: fields.list(unpackPermission) };
      return { type: 'role', role };
    }
    default:
      checkForm(false, 'an auth row is of an unknown kind');
  }
}

function readUser(name: string, fields: Fields): User {
  return {
    name,
    passwordHash: fields.text(),
    noPassword: fields.boolean(),
    roles: fields.texts(),
    credentialRevision: fields.natural(),
  };
}

function row(letter: number, name: string, fields: readonly Packed[]): TableRow {
  const id = Buffer.concat([Buffer.of(letter), Buffer.from(name)]);
  return { table: 'auth', id, value: pack([VALUE_VERSION, ...fields]) };
}
