import type { CancelSignal } from '../../lib/cancellation.ts';
import type { RpcCall } from '../../rpc/server.ts';
import type { Shown } from '../identity.ts';
import { HEADER } from './metadata.ts';

/** What a call shows of who makes it. */
export function shownBy(call: RpcCall): Shown {
  return {
    authorization: call.metadata(HEADER.authorization),
    token: call.metadata(HEADER.token),
    certificateName: call.certificateName,
    user: call.metadata(HEADER.user),
    address: call.peer.slice(0, Math.max(0, call.peer.lastIndexOf(':'))),
    agent: call.metadata(HEADER.agent),
  };
}

/** The same as an `AbortSignal`. */
export function abortSignalOf(signal: CancelSignal): AbortSignal {
  const control = new AbortController();
  if (signal.aborted) control.abort(signal.reason);
  else signal.addEventListener('abort', () => control.abort(signal.reason), { once: true });
  return control.signal;
}
