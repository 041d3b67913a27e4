import type { Command } from 'commander';
import type { Permission } from '../client/types.ts';
import { prefixEnd } from '../lib/range-end.ts';
import { keyRange, type RangeFlags, UsageError } from './arguments.ts';
import { type Context, nameAndPassword, withContext } from './context.ts';
import type { CliIo } from './io.ts';
import { headerFields } from './kv-format.ts';

/** `conclave auth`, `conclave user` and `conclave role`: who may do what. */
export function authCommands(parent: Command, io: CliIo): void {
  const run = (command: Command, work: (context: Context) => Promise<void>): Promise<void> =>
    withContext(io, command, work);
  addSwitch(parent.command('auth').description('enable and disable authentication'), run);
  addUsers(parent.command('user').description('add, change and remove users'), { io, run });
  addRoles(parent.command('role').description('add, change and remove roles and their permissions'), run);
}

type Run = (command: Command, work: (context: Context) => Promise<void>) => Promise<void>;

/** Prints one sentence, or the answer's header. */
async function told(
  { print }: Context,
  change: Promise<Parameters<typeof headerFields>[0]>,
  sentence: string,
): Promise<void> {
  const header = await change;
  await print({ lines: () => `${sentence}\n`, fields: () => ({ header: headerFields(header) }) });
}

/** Prints names, one a line. */
async function listed({ print }: Context, asked: Promise<readonly string[]>, field: string): Promise<void> {
  const names = await asked;
  await print({
    lines: () => names.map((name) => `${name}\n`).join(''),
    fields: () => ({ [field]: names }),
  });
}

// ---- auth ---------------------------------------------------------------------------------------------------

function addSwitch(auth: Command, run: Run): void {
  auth
    .command('enable')
    .description('from now on only users may do anything, and only what their roles allow')
    .addHelpText(
      'after',
      `
There must be a user root with the role root:
  $ conclave user add root:secret
  $ conclave user grant-role root root
  $ conclave auth enable`,
    )
    .action((_flags: unknown, command: Command) =>
      run(command, (context) =>
        told(context, context.client.auth.enable(context.call), 'Authentication enabled'),
      ),
    );
  auth
    .command('disable')
    .description('from now on everybody may do everything')
    .action((_flags: unknown, command: Command) =>
      run(command, (context) =>
        told(context, context.client.auth.disable(context.call), 'Authentication disabled'),
      ),
    );
  auth
    .command('status')
    .description('show whether authentication is enabled')
    .action((_flags: unknown, command: Command) =>
      run(command, async ({ client, call, print }) => {
        const { header, enabled, authRevision } = await client.auth.status(call);
        await print({
          lines: () => `Authentication: ${enabled ? 'enabled' : 'disabled'}\nRevision: ${authRevision}\n`,
          fields: () => ({ header: headerFields(header), enabled, authRevision }),
        });
      }),
    );
}

// ---- users --------------------------------------------------------------------------------------------------

interface UserAddFlags {
  readonly newUserPassword?: string;
  readonly password: boolean;
}

function addUsers(user: Command, { io, run }: { readonly io: CliIo; readonly run: Run }): void {
  user
    .command('add')
    .description('add a user; a password that is not given is asked for')
    .argument('<name[:password]>')
    .option('--new-user-password <password>', 'the password, where NAME may hold a colon')
    .option('--no-password', 'the user signs in by certificate only')
    .action((word: string, flags: UserAddFlags, command: Command) =>
      run(command, async (context) => {
        const { name, password } = await newUser(io, word, flags);
        const change = context.client.auth.userAdd({ name, password }, context.call);
        await told(context, change, `User ${name} created`);
      }),
    );
  user
    .command('passwd')
    .description('give a user another password, read from standard input')
    .argument('<name>')
    .action((name: string, _flags: unknown, command: Command) =>
      run(command, async (context) => {
        const password = given(await io.readPassword(`New password of ${name}: `));
        const change = context.client.auth.userChangePassword({ name, password }, context.call);
        await told(context, change, `Password of user ${name} changed`);
      }),
    );
  user
    .command('delete')
    .description('remove a user')
    .argument('<name>')
    .action((name: string, _flags: unknown, command: Command) =>
      run(command, (context) =>
        told(context, context.client.auth.userDelete(name, context.call), `User ${name} deleted`),
      ),
    );
  user
    .command('list')
    .description('print the names of all users')
    .action((_flags: unknown, command: Command) =>
      run(command, (context) => listed(context, context.client.auth.userList(context.call), 'users')),
    );
  addUserRoles(user, run);
}

function addUserRoles(user: Command, run: Run): void {
  user
    .command('get')
    .description("print a user's roles, and with --detail what they allow")
    .argument('<name>')
    .option('--detail', 'also print the permissions of each role')
    .action((name: string, flags: { readonly detail?: boolean }, command: Command) =>
      run(command, async ({ client, call, print }) => {
        const roles = await client.auth.userGet(name, call);
        const detailed = flags.detail ? roles : [];
        const permissions: string[] = [];
        for (const role of detailed)
          permissions.push(permissionLines(role, await client.auth.roleGet(role, call)));
        await print({
          lines: () => `User: ${name}\nRoles: ${roles.join(' ')}\n${permissions.join('')}`,
          fields: () => ({ user: name, roles }),
        });
      }),
    );
  user
    .command('grant-role')
    .description('give a user a role')
    .argument('<user>')
    .argument('<role>')
    .action((name: string, role: string, _flags: unknown, command: Command) =>
      run(command, (context) => {
        const change = context.client.auth.userGrantRole({ user: name, role }, context.call);
        return told(context, change, `Role ${role} is granted to user ${name}`);
      }),
    );
  user
    .command('revoke-role')
    .description('take a role from a user')
    .argument('<user>')
    .argument('<role>')
    .action((name: string, role: string, _flags: unknown, command: Command) =>
      run(command, (context) => {
        const change = context.client.auth.userRevokeRole({ user: name, role }, context.call);
        return told(context, change, `Role ${role} is revoked from user ${name}`);
      }),
    );
}

async function newUser(
  io: CliIo,
  word: string,
  flags: UserAddFlags,
): Promise<{ readonly name: string; readonly password: string | null }> {
  const { newUserPassword } = flags;
  if (!flags.password) {
    if (newUserPassword !== undefined)
      throw new UsageError('--no-password and --new-user-password contradict each other');
    return { name: word, password: null };
  }
  if (newUserPassword !== undefined) return { name: word, password: given(newUserPassword) };
  const { name, password } = nameAndPassword(word);
  if (name === '') throw new UsageError('the user needs a name');
  return { name, password: given(password ?? (await io.readPassword(`Password of ${name}: `))) };
}

/** The password, unless it is empty: a variable that is not set in a script must not make one that everybody knows. */
function given(password: string): string {
  if (password === '') throw new UsageError('no password was given');
  return password;
}

// ---- roles --------------------------------------------------------------------------------------------------

function addRoles(role: Command, run: Run): void {
  role
    .command('add')
    .description('add a role that allows nothing yet')
    .argument('<name>')
    .action((name: string, _flags: unknown, command: Command) =>
      run(command, (context) =>
        told(context, context.client.auth.roleAdd(name, context.call), `Role ${name} created`),
      ),
    );
  role
    .command('delete')
    .description('remove a role, also from all users')
    .argument('<name>')
    .action((name: string, _flags: unknown, command: Command) =>
      run(command, (context) =>
        told(context, context.client.auth.roleDelete(name, context.call), `Role ${name} deleted`),
      ),
    );
  role
    .command('get')
    .description('print what a role allows')
    .argument('<name>')
    .action((name: string, _flags: unknown, command: Command) =>
      run(command, async ({ client, call, print }) => {
        const permissions = await client.auth.roleGet(name, call);
        await print({
          lines: () => permissionLines(name, permissions),
          fields: () => ({ role: name, perm: permissions.map(permissionFields) }),
        });
      }),
    );
  role
    .command('list')
    .description('print the names of all roles')
    .action((_flags: unknown, command: Command) =>
      run(command, (context) => listed(context, context.client.auth.roleList(context.call), 'roles')),
    );
  addPermissions(role, run);
}

function addPermissions(role: Command, run: Run): void {
  const ranged = (command: Command): Command =>
    command
      .option('--prefix', 'all keys that start with KEY')
      .option('--from-key', 'all keys from KEY on, in byte order');
  ranged(role.command('grant-permission'))
    .description('allow a role to read or write a key, or those of a range [KEY, END)')
    .argument('<role>')
    .addArgument(role.createArgument('<type>').choices(['read', 'write', 'readwrite']))
    .argument('<key>')
    .argument('[end]')
    .action(
      (
        name: string,
        type: string,
        key: string,
        end: string | undefined,
        flags: RangeFlags,
        command: Command,
      ) =>
        run(command, (context) => {
          const kind = type === 'readwrite' ? 'read-write' : (type as Permission['type']);
          const range = keyRange(key, end, flags);
          const change = context.client.auth.roleGrantPermission(
            name,
            { ...range, type: kind },
            context.call,
          );
          return told(context, change, `Role ${name} updated`);
        }),
    );
  ranged(role.command('revoke-permission'))
    .description('take from a role what it was granted, named in the same way')
    .argument('<role>')
    .argument('<key>')
    .argument('[end]')
    .action((name: string, key: string, end: string | undefined, flags: RangeFlags, command: Command) =>
      run(command, (context) => {
        const range = keyRange(key, end, flags);
        const change = context.client.auth.roleRevokePermission(name, range, context.call);
        return told(context, change, `Permission is revoked from role ${name}`);
      }),
    );
}

const KINDS = { read: 'READ', write: 'WRITE', 'read-write': 'READWRITE' } as const;

function permissionLines(role: string, permissions: readonly Permission[]): string {
  const reads = permissions.filter(({ type }) => type !== 'write').map(rangeText);
  const writes = permissions.filter(({ type }) => type !== 'read').map(rangeText);
  return [`Role ${role}`, 'KV Read:', ...reads, 'KV Write:', ...writes].map((line) => `${line}\n`).join('');
}

/** As etcd's tool: `[a, b)`, with the prefix where it is one. */
function rangeText({ key, rangeEnd }: Permission): string {
  const start = key.toString();
  const end = Buffer.from(rangeEnd ?? '');
  if (end.length === 0) return `\t${start}`;
  if (end.length === 1 && end[0] === 0) return `\t[${start}, <open ended>`;
  const isPrefix = end.equals(prefixEnd(Buffer.from(key)));
  return `\t[${start}, ${end.toString()})${isPrefix ? ` (prefix ${start})` : ''}`;
}

function permissionFields({ type, key, rangeEnd }: Permission): Record<string, unknown> {
  return {
    permType: KINDS[type],
    key,
    ...(rangeEnd !== undefined && rangeEnd.length > 0 && { range_end: rangeEnd }),
  };
}
