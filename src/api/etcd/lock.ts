import { deleteRequest } from '../../core/mvcc/operations.ts';
import { StoreError } from '../../lib/errors.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { unary } from '../../rpc/service.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';
import { errorMapping } from '../errors.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import { Queue } from './queue.ts';
import { wireHeader } from './translate.ts';

const NO_VALUE = Buffer.alloc(0);

/**
 * Registers `v3lockpb.Lock`. A lock is held as long as its key exists: until it is unlocked or its lease ends. The
 * answer's key has a create revision, which serves as a fencing token (docs/guarantees.md).
 */
export function registerLock(server: RpcServer, backend: EtcdBackend): void {
  unary(server, '/v3lockpb.Lock/Lock', async (request, call) => {
    requireLeader(call, backend);
    return asRecipe(async () => {
      const queue = new Queue(backend, request.name, contextOf(call));
      const { header, ticket, head } = await queue.join(await queue.lease(request.lease), NO_VALUE);
      if (head === undefined || head.createRevision === ticket.revision) {
        return { header: wireHeader(header), key: ticket.key };
      }
      try {
        await queue.first(ticket);
        const held = await queue.get(ticket.key);
        // The lease may have ended while its place was waited for.
        if (held.kv === undefined) throw recipeError('mutex: session is expired');
        return { header: wireHeader(held.header), key: ticket.key };
      } catch (error) {
        await queue.abandon(ticket);
        throw error;
      }
    });
  });

  unary(server, '/v3lockpb.Lock/Unlock', async (request, call) => {
    requireLeader(call, backend);
    return asRecipe(async () => {
      if (request.key.length === 0) throw new StoreError('empty-key');
      const { header } = await backend.deleteRange(deleteRequest({ key: request.key }), contextOf(call));
      return { header: wireHeader(header) };
    });
  });
}

/** A failure in the words of etcd's client library; it has no status of its own. */
export function recipeError(text: string): RpcError {
  return new RpcError(rpcStatus.unknown, text);
}

/** In etcd these services are clients of the others: what fails inside reaches the caller by its text alone. */
export async function asRecipe<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof StoreError) || IS_ABOUT_THE_CALL.has(error.code)) throw error;
    throw recipeError(errorMapping(error.code).text);
  }
}

const IS_ABOUT_THE_CALL: ReadonlySet<StoreError['code']> = new Set([
  'canceled',
  'deadline-exceeded',
  'stopped',
]);
