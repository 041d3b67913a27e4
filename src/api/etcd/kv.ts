import { checkDeleteRange, checkPut, checkRange, checkTxn } from '../../core/mvcc/check.ts';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Credentials } from '../../member/auth/access.ts';
import type { ReadContext } from '../../member/client-calls.ts';
import type { RpcCall, RpcServer } from '../../rpc/server.ts';
import { unary, unaryEncoded } from '../../rpc/service.ts';
import { AnswerBudget } from './answer-budget.ts';
import { encodeDeleteRange, encodeRange, encodeTxn } from './answers.ts';
import type { EtcdBackend } from './backend.ts';
import { maxStalenessMsOf, tellAge } from './bounded.ts';
import { contextOf, credentialsOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import type { EtcdLimits } from './limits.ts';
import { registerRangeStream } from './range-stream.ts';
import { putBytes } from './small-answers.ts';
import * as translate from './translate.ts';

/** Registers `etcdserverpb.KV`. Checks come in etcd's order: the request, its size, the rest. */
export function registerKv(server: RpcServer, backend: EtcdBackend, limits: EtcdLimits): void {
  const checkSize = (requestBytes: number): void => {
    if (requestBytes > limits.requestBytesMax) throw new StoreError('request-too-large');
  };

  const budget = new AnswerBudget();

  unaryEncoded(server, '/etcdserverpb.KV/Range', async (message, call) => {
    requireLeader(call, backend);
    const request = translate.rangeRequest(message);
    checkRange(request);
    const { serializable } = message;
    const { header, result, ageMs } = await backend.range(
      request,
      new Reading(call, { serializable, budget }),
    );
    if (ageMs !== undefined) tellAge(call, backend, ageMs);
    return encodeRange(result, header);
  });

  registerRangeStream(server, backend);

  unaryEncoded(server, '/etcdserverpb.KV/Put', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.putRequest(message);
    checkPut(request);
    checkSize(requestBytes);
    const { header, result } = await backend.put(request, contextOf(call));
    return putBytes(result, header);
  });

  unaryEncoded(server, '/etcdserverpb.KV/DeleteRange', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.deleteRangeRequest(message);
    checkDeleteRange(request);
    checkSize(requestBytes);
    const { header, result } = await backend.deleteRange(request, contextOf(call));
    return encodeDeleteRange(result, header);
  });

  unaryEncoded(server, '/etcdserverpb.KV/Txn', async (message, call, requestBytes) => {
    requireLeader(call, backend);
    const request = translate.txnRequest(message, limits.txnOpsMax);
    checkTxn(request, { opsMax: limits.txnOpsMax });
    if (translate.writes(message)) checkSize(requestBytes);
    const serializable = translate.isSerializable(message);
    const { header, result, ageMs } = await backend.txn(request, new Reading(call, { serializable, budget }));
    if (ageMs !== undefined) tellAge(call, backend, ageMs);
    return encodeTxn(result, header);
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

/** In which context a read is served. It makes room for a large answer once: a read that is begun anew keeps it. */
class Reading implements ReadContext {
  readonly signal: CancelSignal;
  readonly credentials: Credentials | undefined;
  readonly serializable: boolean;
  readonly maxStalenessMs: number | undefined;
  readonly #call: RpcCall;
  readonly #budget: AnswerBudget;
  #asked = false;
  #room: Promise<void> | undefined;

  constructor(call: RpcCall, read: { readonly serializable: boolean; readonly budget: AnswerBudget }) {
    this.signal = call.signal;
    this.credentials = credentialsOf(call);
    this.serializable = read.serializable;
    this.maxStalenessMs = maxStalenessMsOf(call);
    this.#call = call;
    this.#budget = read.budget;
  }

  reserve(bytes: number): Promise<void> | undefined {
    if (!this.#asked && !this.#budget.tryReserve(bytes, this.#call)) {
      this.#room = this.#budget.reserve(bytes, this.#call);
    }
    this.#asked = true;
    return this.#room;
  }
}
