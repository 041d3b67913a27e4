import type { RpcCall, RpcServer } from '../../rpc/server.ts';
import { bidi, type MessageWriter, type RequestOf, type ResponseOf, unary } from '../../rpc/service.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader, whileLeader } from './leader.ts';
import type { EtcdLimits } from './limits.ts';
import { saturated, wireHeader, wireInteger } from './translate.ts';

/** Renewals of one stream on their way at a time; the stream is not read further meanwhile. */
const KEEP_ALIVES_IN_FLIGHT_MAX = 256;

/** Registers `etcdserverpb.Lease`. */
export function registerLease(server: RpcServer, backend: EtcdBackend, limits: EtcdLimits): void {
  unary(server, '/etcdserverpb.Lease/LeaseGrant', async (request, call) => {
    requireLeader(call, backend);
    const { header, result } = await backend.leaseGrant(
      { id: BigInt(request.ID), ttlSeconds: saturated(request.TTL) },
      contextOf(call),
    );
    return { header: wireHeader(header), ID: wireInteger(result.id), TTL: result.ttlSeconds };
  });

  unary(server, '/etcdserverpb.Lease/LeaseRevoke', async (request, call) => {
    requireLeader(call, backend);
    const { header } = await backend.leaseRevoke({ id: BigInt(request.ID) }, contextOf(call));
    return { header: wireHeader(header) };
  });

  bidi(server, '/etcdserverpb.Lease/LeaseKeepAlive', (requests, call, out) =>
    whileLeader({ call, backend, graceMs: limits.leaderLossGraceMs }, () =>
      keepAlive(backend, { requests, call, out }),
    ),
  );

  unary(server, '/etcdserverpb.Lease/LeaseTimeToLive', async (request, call) => {
    requireLeader(call, backend);
    const { header, result } = await backend.leaseTimeToLive(
      { id: BigInt(request.ID), keys: request.keys },
      contextOf(call),
    );
    return {
      header: wireHeader(header),
      ID: request.ID,
      TTL: result.ttlSeconds,
      grantedTTL: result.grantedTtlSeconds,
      keys: [...result.keys],
    };
  });

  unary(server, '/etcdserverpb.Lease/LeaseLeases', async (_request, call) => {
    requireLeader(call, backend);
    const { header, result } = await backend.leaseLeases(contextOf(call));
    return { header: wireHeader(header), leases: result.map((id) => ({ ID: wireInteger(id) })) };
  });
}

type KeepAlivePath = '/etcdserverpb.Lease/LeaseKeepAlive';

/**
 * Renews what the stream asks for, several at a time: each renewal waits for a round of its own, and a client keeps
 * all its leases alive on one stream. A lease that is gone is an answer with TTL 0; any failure ends the stream.
 */
async function keepAlive(
  backend: EtcdBackend,
  stream: {
    readonly requests: AsyncIterable<RequestOf<KeepAlivePath>>;
    readonly call: RpcCall;
    readonly out: MessageWriter<ResponseOf<KeepAlivePath>>;
  },
): Promise<void> {
  const inFlight = new Set<Promise<void>>();
  let fail: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);
  const renew = async (id: number | bigint): Promise<void> => {
    const { header, result } = await backend.leaseKeepAlive({ id: BigInt(id) }, contextOf(stream.call));
    stream.out.write({ header: wireHeader(header), ID: id, TTL: result.ttlSeconds });
  };
  const readAll = async (): Promise<void> => {
    for await (const { ID } of stream.requests) {
      const renewal: Promise<void> = renew(ID)
        .catch(fail)
        .finally(() => inFlight.delete(renewal));
      inFlight.add(renewal);
      await stream.out.bytes.drained();
      while (inFlight.size >= KEEP_ALIVES_IN_FLIGHT_MAX) await Promise.race(inFlight);
    }
    await Promise.all(inFlight);
  };
  await Promise.race([failed, readAll()]);
}
