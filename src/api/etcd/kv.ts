import { checkDeleteRange, checkPut, checkRange, checkTxn } from '../../core/mvcc/check.ts';
import { StoreError } from '../../lib/errors.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { unary } from '../../rpc/service.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import type { EtcdLimits } from './limits.ts';
import * as translate from './translate.ts';

/** Registers `etcdserverpb.KV` without RangeStream. Checks come in etcd's order: the request, its size, the rest. */
export function registerKv(server: RpcServer, backend: EtcdBackend, limits: EtcdLimits): void {
  const checkSize = (requestBytes: number): void => {
    if (requestBytes > limits.requestBytesMax) throw new StoreError('request-too-large');
  };

  unary(server, '/etcdserverpb.KV/Range', async (message, call) => {
    requireLeader(call, backend);
    const request = translate.rangeRequest(message);
    checkRange(request);
    const { header, result } = await backend.range(request, {
      ...contextOf(call),
      serializable: message.serializable,
    });
    return translate.rangeResponse(result, translate.wireHeader(header));
  });

  unary(server, '/etcdserverpb.KV/Put', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.putRequest(message);
    checkPut(request);
    checkSize(requestBytes);
    const { header, result } = await backend.put(request, contextOf(call));
    return translate.putResponse(result, translate.wireHeader(header));
  });

  unary(server, '/etcdserverpb.KV/DeleteRange', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.deleteRangeRequest(message);
    checkDeleteRange(request);
    checkSize(requestBytes);
    const { header, result } = await backend.deleteRange(request, contextOf(call));
    return translate.deleteRangeResponse(result, translate.wireHeader(header));
  });

  unary(server, '/etcdserverpb.KV/Txn', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.txnRequest(message);
    checkTxn(request, { opsMax: limits.txnOpsMax });
    if (translate.writes(message)) checkSize(requestBytes);
    const { header, result } = await backend.txn(request, {
      ...contextOf(call),
      serializable: translate.isSerializable(message),
    });
    return translate.txnResponse(result, translate.wireHeader(header));
  });

  unary(server, '/etcdserverpb.KV/Compact', async (message, call) => {
    requireLeader(call, backend);
    const { header } = await backend.compact(
      { revision: translate.saturated(message.revision), physical: message.physical },
      contextOf(call),
    );
    return { header: translate.wireHeader(header) };
  });
}
