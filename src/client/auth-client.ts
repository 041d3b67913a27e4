import type { Method } from './connection.ts';
import type { CallOptions } from './kv-client.ts';
import type { Login } from './sign-in.ts';
import type { AuthStatusAnswer, Bytes, Permission, ResponseHeader } from './types.ts';
import { header, METHODS, permission, permissionMessage } from './wire.ts';

/** Sends one request with the client's bounds and token. */
type Send = <Req, Res>(method: Method<Req, Res>, request: Partial<Req>, call: CallOptions) => Promise<Res>;

/**
 * Users, roles and permissions. Every method throws ClientError; all but `status` and `authenticate` are for root once
 * it is enabled, save that users may look at themselves and their roles.
 */
export class AuthClient {
  readonly #send: Send;

  constructor(send: Send) {
    this.#send = send;
  }

  async enable(call: CallOptions = {}): Promise<ResponseHeader> {
    return header((await this.#send(METHODS.authEnable, {}, call)).header);
  }

  async disable(call: CallOptions = {}): Promise<ResponseHeader> {
    return header((await this.#send(METHODS.authDisable, {}, call)).header);
  }

  async status(call: CallOptions = {}): Promise<AuthStatusAnswer> {
    const answer = await this.#send(METHODS.authStatus, {}, call);
    return {
      header: header(answer.header),
      enabled: answer.enabled,
      authRevision: Number(answer.authRevision),
    };
  }

  /** A token for `CallOptions.token`; a client that was given a login signs in by itself. */
  async authenticate({ user, password }: Login, call: CallOptions = {}): Promise<string> {
    const request = { name: user, password };
    return (await this.#send(METHODS.authenticate, request, { ...call, token: null })).token;
  }

  /** @param user without a password he signs in by certificate only */
  async userAdd(
    user: { readonly name: string; readonly password: string | null },
    call: CallOptions = {},
  ): Promise<ResponseHeader> {
    const options = { no_password: user.password === null };
    const request = { name: user.name, password: user.password ?? '', options };
    return header((await this.#send(METHODS.userAdd, request, call)).header);
  }

  async userDelete(name: string, call: CallOptions = {}): Promise<ResponseHeader> {
    return header((await this.#send(METHODS.userDelete, { name }, call)).header);
  }

  async userChangePassword(
    user: { readonly name: string; readonly password: string },
    call: CallOptions = {},
  ): Promise<ResponseHeader> {
    const { name, password } = user;
    return header((await this.#send(METHODS.userChangePassword, { name, password }, call)).header);
  }

  /** @returns the names of the user's roles */
  async userGet(name: string, call: CallOptions = {}): Promise<readonly string[]> {
    return (await this.#send(METHODS.userGet, { name }, call)).roles;
  }

  async userList(call: CallOptions = {}): Promise<readonly string[]> {
    return (await this.#send(METHODS.userList, {}, call)).users;
  }

  async userGrantRole(
    grant: { readonly user: string; readonly role: string },
    call: CallOptions = {},
  ): Promise<ResponseHeader> {
    const { user, role } = grant;
    return header((await this.#send(METHODS.userGrantRole, { user, role }, call)).header);
  }

  async userRevokeRole(
    grant: { readonly user: string; readonly role: string },
    call: CallOptions = {},
  ): Promise<ResponseHeader> {
    const { user, role } = grant;
    return header((await this.#send(METHODS.userRevokeRole, { name: user, role }, call)).header);
  }

  async roleAdd(name: string, call: CallOptions = {}): Promise<ResponseHeader> {
    return header((await this.#send(METHODS.roleAdd, { name }, call)).header);
  }

  async roleDelete(role: string, call: CallOptions = {}): Promise<ResponseHeader> {
    return header((await this.#send(METHODS.roleDelete, { role }, call)).header);
  }

  async roleGet(role: string, call: CallOptions = {}): Promise<readonly Permission[]> {
    return (await this.#send(METHODS.roleGet, { role }, call)).perm.map(permission);
  }

  async roleList(call: CallOptions = {}): Promise<readonly string[]> {
    return (await this.#send(METHODS.roleList, {}, call)).roles;
  }

  async roleGrantPermission(
    role: string,
    granted: Permission,
    call: CallOptions = {},
  ): Promise<ResponseHeader> {
    const request = { name: role, perm: permissionMessage(granted) };
    return header((await this.#send(METHODS.roleGrantPermission, request, call)).header);
  }

  async roleRevokePermission(
    role: string,
    range: { readonly key: Bytes; readonly rangeEnd?: Bytes },
    call: CallOptions = {},
  ): Promise<ResponseHeader> {
    const { key, range_end } = permissionMessage({ ...range, type: 'read' });
    return header((await this.#send(METHODS.roleRevokePermission, { role, key, range_end }, call)).header);
  }
}
