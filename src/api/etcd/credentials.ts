import type { ClientContext, Credentials } from '../../member/auth/access.ts';
import type { RpcCall } from '../../rpc/server.ts';

/** Where clients put their token: gRPC's own, and what proxies make of the HTTP header. */
const TOKEN_HEADERS = ['token', 'authorization'] as const;
const BEARER = /^Bearer /;

/** The context in which a call is served: how long it lasts, and what its client shows of itself. */
export function contextOf(call: RpcCall): ClientContext {
  const credentials = credentialsOf(call);
  return credentials === undefined ? { signal: call.signal } : { signal: call.signal, credentials };
}

/** The client's address without its port; empty when it is not known. */
export function addressOf({ peer }: RpcCall): string {
  const colon = peer.lastIndexOf(':');
  return colon === -1 ? '' : peer.slice(0, colon);
}

function credentialsOf(call: RpcCall): Credentials | undefined {
  for (const header of TOKEN_HEADERS) {
    const value = call.metadata(header);
    if (value !== undefined) return { token: value.replace(BEARER, '') };
  }
  const { certificateName } = call;
  return certificateName === undefined ? undefined : { certificateName };
}
