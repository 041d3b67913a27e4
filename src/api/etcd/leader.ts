import { StoreError } from '../../lib/errors.ts';
import type { RpcCall } from '../../rpc/server.ts';
import type { EtcdBackend } from './backend.ts';

/** Clients that would rather fail than wait for a leader say so in this request header. */
function wantsLeader(call: RpcCall): boolean {
  return call.metadata('hasleader') === 'true';
}

/** @throws StoreError `no-leader` when the client insists on a leader and there is none */
export function requireLeader(call: RpcCall, backend: EtcdBackend): void {
  if (wantsLeader(call) && !backend.hasLeader()) throw new StoreError('no-leader');
}

/**
 * Runs a stream's work. When the client insists on a leader, fails with `no-leader` if there is none at the start or
 * for `graceMs` on end later: a client on the wrong side of a partition must not wait for events that never come.
 */
export async function whileLeader(
  { call, backend, graceMs }: { call: RpcCall; backend: EtcdBackend; graceMs: number },
  work: () => Promise<void>,
): Promise<void> {
  requireLeader(call, backend);
  if (!wantsLeader(call)) return work();
  let timer: NodeJS.Timeout | undefined;
  let unsubscribe = (): void => undefined;
  const lost = new Promise<never>((_, reject) => {
    unsubscribe = backend.onLeaderChange((hasLeader) => {
      clearTimeout(timer);
      if (!hasLeader) timer = setTimeout(() => reject(new StoreError('no-leader')), graceMs);
    });
  });
  try {
    await Promise.race([work(), lost]);
  } finally {
    clearTimeout(timer);
    unsubscribe();
  }
}
