import type { AlarmKind } from '../../core/command.ts';
import { ETCD_VERSION } from '../../lib/version.ts';
import type { MemberStatus } from '../../member/condition.ts';
import type { AlarmRequest } from '../../member/member.ts';
import {
  AlarmRequest_AlarmAction as WireAction,
  AlarmType as WireAlarm,
} from '../../rpc/generated/etcdserverpb/rpc.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { serverStream, unary } from '../../rpc/service.ts';
import { errorMapping } from '../errors.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import { saturated, wireHeader } from './translate.ts';

/** Registers `etcdserverpb.Maintenance` without Downgrade, which has a file of its own. */
export function registerMaintenance(server: RpcServer, backend: EtcdBackend): void {
  registerAlarm(server, backend);
  registerStatus(server, backend);
  registerHashes(server, backend);
  registerSnapshot(server, backend);

  unary(server, '/etcdserverpb.Maintenance/Defragment', async (_request, call) => {
    await backend.defragment(contextOf(call));
    // Here and below etcd leaves the header out.
    return {};
  });

  unary(server, '/etcdserverpb.Maintenance/MoveLeader', async (request, call) => {
    requireLeader(call, backend);
    await backend.moveLeader({ target: saturated(request.targetID) }, contextOf(call));
    return {};
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
      errors: statusErrors(result),
      dbSizeInUse: result.dbSizeInUseBytes,
      isLearner: result.isLearner,
      storageVersion: ETCD_VERSION,
      dbSizeQuota: result.quotaBytes,
      downgradeInfo: { enabled: false, targetVersion: '' },
      ...(result.region !== undefined && { region: result.region }),
      roundTrips: result.roundTrips.map(({ member, ms }) => ({
        memberID: member,
        micros: Math.round(1_000 * ms),
      })),
      ageMs: result.ageMs,
    };
  });
}

/** As etcd prints them, to the space at an alarm's end: monitoring matches on it. */
function statusErrors({ leader, alarms }: MemberStatus): string[] {
  const errors = alarms.map(({ member, alarm }) => {
    const name = alarm === 'no-space' ? 'NOSPACE' : 'CORRUPT';
    return `${member === 0 ? '' : `memberID:${member} `}alarm:${name} `;
  });
  return leader === 0 ? [errorMapping('no-leader').text, ...errors] : errors;
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
