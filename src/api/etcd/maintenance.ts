import type { AlarmKind } from '../../core/command.ts';
import type { AlarmRequest } from '../../member/member.ts';
import {
  AlarmRequest_AlarmAction as WireAction,
  AlarmType as WireAlarm,
} from '../../rpc/generated/etcdserverpb/rpc.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { serverStream, unary } from '../../rpc/service.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import { saturated, wireHeader } from './translate.ts';

/** The release of etcd whose behaviour this server has; clients choose their dialect by it. */
export const ETCD_VERSION = '3.6.0';

/** Registers `etcdserverpb.Maintenance` without Downgrade. */
export function registerMaintenance(server: RpcServer, backend: EtcdBackend): void {
  registerAlarm(server, backend);
  registerStatus(server, backend);
  registerHashes(server, backend);
  registerSnapshot(server, backend);

  unary(server, '/etcdserverpb.Maintenance/Defragment', async (_request, call) => {
    const { header } = await backend.defragment(contextOf(call));
    return { header: wireHeader(header) };
  });

  unary(server, '/etcdserverpb.Maintenance/MoveLeader', async (request, call) => {
    requireLeader(call, backend);
    const { header } = await backend.moveLeader({ target: saturated(request.targetID) }, contextOf(call));
    return { header: wireHeader(header) };
  });
}

const ACTIONS: ReadonlyMap<number, AlarmRequest['action']> = new Map([
  [WireAction.GET, 'get'],
  [WireAction.ACTIVATE, 'activate'],
  [WireAction.DEACTIVATE, 'deactivate'],
]);
const ALARMS: ReadonlyMap<number, AlarmKind> = new Map([
  [WireAlarm.NOSPACE, 'no-space'],
  [WireAlarm.CORRUPT, 'corrupt'],
]);

function registerAlarm(server: RpcServer, backend: EtcdBackend): void {
  unary(server, '/etcdserverpb.Maintenance/Alarm', async (request, call) => {
    requireLeader(call, backend);
    const { header, result } = await backend.alarm(
      {
        action: ACTIONS.get(request.action) ?? 'get',
        member: saturated(request.memberID),
        alarm: ALARMS.get(request.alarm) ?? 'none',
      },
      contextOf(call),
    );
    return {
      header: wireHeader(header),
      alarms: result.map(({ member, alarm }) => ({
        memberID: member,
        alarm: alarm === 'no-space' ? WireAlarm.NOSPACE : WireAlarm.CORRUPT,
      })),
    };
  });
}

function registerStatus(server: RpcServer, backend: EtcdBackend): void {
  unary(server, '/etcdserverpb.Maintenance/Status', async (_request, call) => {
    const { header, result } = await backend.statusFor(contextOf(call));
    return {
      header: wireHeader(header),
      version: ETCD_VERSION,
      dbSize: result.dbSizeBytes,
      leader: result.leader,
      raftIndex: result.raftIndex,
      raftTerm: result.raftTerm,
      raftAppliedIndex: result.appliedIndex,
      errors: [...result.errors],
      dbSizeInUse: result.dbSizeInUseBytes,
      isLearner: result.isLearner,
      storageVersion: ETCD_VERSION,
      dbSizeQuota: result.quotaBytes,
      downgradeInfo: { enabled: false, targetVersion: '' },
    };
  });
}

function registerHashes(server: RpcServer, backend: EtcdBackend): void {
  unary(server, '/etcdserverpb.Maintenance/Hash', async (_request, call) => {
    const { header, result } = await backend.hash(contextOf(call));
    return { header: wireHeader(header), hash: result.hash };
  });

  unary(server, '/etcdserverpb.Maintenance/HashKV', async (request, call) => {
    const { header, result } = await backend.hashKv(
      { revision: saturated(request.revision) },
      contextOf(call),
    );
    return {
      header: wireHeader(header),
      hash: result.hash,
      compact_revision: result.compactRevision,
      hash_revision: result.revision,
    };
  });
}

/**
 * The backup's frames as they come, at the client's pace. Some clients take `remaining_bytes` 0 for the end, and the
 * size told beforehand is an estimate: only the last frame says 0.
 */
function registerSnapshot(server: RpcServer, backend: EtcdBackend): void {
  serverStream(server, '/etcdserverpb.Maintenance/Snapshot', async (_request, call, out) => {
    const { sizeBytes, frames } = await backend.snapshot(contextOf(call));
    const header = wireHeader(backend.header());
    let sentBytes = 0;
    const send = (blob: Buffer, last: boolean): void => {
      sentBytes += blob.length;
      const remaining = last ? 0 : Math.max(1, sizeBytes - sentBytes);
      out.write({ header, remaining_bytes: remaining, blob, version: ETCD_VERSION });
    };
    let held: Buffer | null = null;
    for await (const frame of frames) {
      // Leaving the loop closes the backup: nobody reads it any more.
      if (call.signal.aborted) return;
      if (held !== null) send(held, false);
      held = frame;
      await out.bytes.drained();
    }
    if (held !== null) send(held, true);
  });
}
