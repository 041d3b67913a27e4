import { isIPv6 } from 'node:net';
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

/**
 * Where the client is: its address without its port, of IPv6 the network of 64 bits, since whoever has one address
 * there has all of them. Empty when it is not known.
 */
export function addressOf({ peer }: Pick<RpcCall, 'peer'>): string {
  const colon = peer.lastIndexOf(':');
  const address = colon === -1 ? '' : peer.slice(0, colon);
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  return mapped?.[1] ?? (isIPv6(address) ? networkOf(address) : address);
}

/** What the client shows of itself, if anything. */
export function credentialsOf(call: RpcCall): Credentials | undefined {
  for (const header of TOKEN_HEADERS) {
    const value = call.metadata(header);
    if (value !== undefined) return { token: value.replace(BEARER, '') };
  }
  const { certificateName } = call;
  return certificateName === undefined ? undefined : { certificateName };
}

function networkOf(address: string): string {
  const [before = '', after = ''] = address.replace(/%.*$/, '').split('::');
  const [first, last] = [before, after].map((part) => (part === '' ? [] : part.split(':')));
  const zeros = address.includes('::')
    ? Array.from({ length: 8 - first!.length - last!.length }, () => '0')
    : [];
  return `${[...first!, ...zeros, ...last!].slice(0, 4).join(':')}::/64`;
}
