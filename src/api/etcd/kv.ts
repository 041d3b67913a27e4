import { checkDeleteRange, checkPut, checkRange, checkTxn } from '../../core/mvcc/check.ts';
import { StoreError } from '../../lib/errors.ts';
import type { RpcCall, RpcServer } from '../../rpc/server.ts';
import { unary, unaryEncoded } from '../../rpc/service.ts';
import { AnswerBudget } from './answer-budget.ts';
import { encodeDeleteRange, encodeRange, encodeTxn } from './answers.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import type { EtcdLimits } from './limits.ts';
import { registerRangeStream } from './range-stream.ts';
import * as translate from './translate.ts';

/** Registers `etcdserverpb.KV`. Checks come in etcd's order: the request, its size, the rest. */
export function registerKv(server: RpcServer, backend: EtcdBackend, limits: EtcdLimits): void {
  const checkSize = (requestBytes: number): void => {
    if (requestBytes > limits.requestBytesMax) throw new StoreError('request-too-large');
  };

  const budget = new AnswerBudget();
  /** Once for each call: a read that is begun anew keeps its room. */
  const reserveFor = (call: RpcCall): ((bytes: number) => Promise<void> | undefined) => {
    let asked = false;
    let room: Promise<void> | undefined;
    return (bytes) => {
      if (!asked && !budget.tryReserve(bytes, call)) room = budget.reserve(bytes, call);
      asked = true;
      return room;
    };
  };

  unaryEncoded(server, '/etcdserverpb.KV/Range', async (message, call) => {
    requireLeader(call, backend);
    const request = translate.rangeRequest(message);
    checkRange(request);
    const { header, result } = await backend.range(request, {
      ...contextOf(call),
      serializable: message.serializable,
      reserve: reserveFor(call),
    });
    return encodeRange(result, translate.wireHeader(header));
  });

  registerRangeStream(server, backend);

  unary(server, '/etcdserverpb.KV/Put', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.putRequest(message);
    checkPut(request);
    checkSize(requestBytes);
    const { header, result } = await backend.put(request, contextOf(call));
    return translate.putResponse(result, translate.wireHeader(header));
  });

  unaryEncoded(server, '/etcdserverpb.KV/DeleteRange', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.deleteRangeRequest(message);
    checkDeleteRange(request);
    checkSize(requestBytes);
    const { header, result } = await backend.deleteRange(request, contextOf(call));
    return encodeDeleteRange(result, translate.wireHeader(header));
  });

  unaryEncoded(server, '/etcdserverpb.KV/Txn', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.txnRequest(message, limits.txnOpsMax);
    checkTxn(request, { opsMax: limits.txnOpsMax });
    if (translate.writes(message)) checkSize(requestBytes);
    const { header, result } = await backend.txn(request, {
      ...contextOf(call),
      serializable: translate.isSerializable(message),
      reserve: reserveFor(call),
    });
    return encodeTxn(result, translate.wireHeader(header));
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
