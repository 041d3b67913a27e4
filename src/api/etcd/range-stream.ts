import { checkRange } from '../../core/mvcc/check.ts';
import type { KeyValue, RangeRequest } from '../../core/mvcc/operations.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { serverStream } from '../../rpc/service.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';
import type { EtcdBackend } from './backend.ts';
import { maxStalenessMsOf, tellAge } from './bounded.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import * as translate from './translate.ts';

/**
 * Registers `etcdserverpb.KV/RangeStream` (etcd 3.7): the answer of a Range in pieces of about 1 MiB, at the client's
 * pace, all of one revision. Put together as protobuf merges messages they are the Range's answer: keys in every
 * piece; header, count and more in the last. When the revision is compacted before the end, or the
 * permission taken away, the stream fails.
 */
export function registerRangeStream(server: RpcServer, backend: EtcdBackend): void {
  serverStream(server, '/etcdserverpb.KV/RangeStream', async (message, call, out) => {
    requireLeader(call, backend);
    const asked = translate.rangeRequest(message);
    checkRange(asked);
    checkStreamed(asked);
    // Without an order the target says nothing: keys come as they are stored.
    const request: RangeRequest = { ...asked, sortTarget: 'key' };
    const { header, result, ageMs } = await backend.openRange(request, {
      ...contextOf(call),
      serializable: message.serializable,
      maxStalenessMs: maxStalenessMsOf(call),
    });
    if (ageMs !== undefined) tellAge(call, backend, ageMs);
    const { more, count } = result.plan;
    let held: readonly KeyValue[] = [];
    const send = (kvs: readonly KeyValue[], last: boolean): void => {
      const end = last ? { header: translate.wireHeader(header), more, count } : NOT_LAST;
      out.write({ range_response: { ...end, kvs: kvs.map(translate.wireKeyValue) } });
    };
    for await (const page of result.pages) {
      if (held.length > 0) {
        send(held, false);
        await out.bytes.drained();
      }
      held = page;
    }
    send(held, true);
  });
}

const NOT_LAST = { header: null, more: false, count: 0 } as const;

/** What etcd's stream does not do either. */
function checkStreamed(request: RangeRequest): void {
  const { sortTarget, sortOrder } = request;
  const isDefault = sortOrder === 'none' || (sortTarget === 'key' && sortOrder === 'ascend');
  if (!isDefault) throw unsupported('custom sort orders');
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  if (minModRevision !== 0 || maxModRevision !== 0 || minCreateRevision !== 0 || maxCreateRevision !== 0) {
    throw unsupported('revision filters');
  }
}

function unsupported(what: string): RpcError {
  return new RpcError(rpcStatus.unimplemented, `RangeStream does not support ${what}`);
}
