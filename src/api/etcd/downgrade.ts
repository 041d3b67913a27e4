import { DowngradeRequest_DowngradeAction as Action } from '../../rpc/generated/etcdserverpb/rpc.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { unary } from '../../rpc/service.ts';
import { RpcError, type RpcStatusCode, rpcStatus } from '../../rpc/status.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';

/**
 * Registers `Maintenance/Downgrade`. There is no older release of this program whose data or protocol differs, so no
 * version can be downgraded to: `validate` and `enable` answer as etcd does for a target it cannot reach, `cancel` as
 * when nothing is under way.
 */
export function registerDowngrade(server: RpcServer, backend: EtcdBackend): void {
  unary(server, '/etcdserverpb.Maintenance/Downgrade', async (request, call) => {
    requireLeader(call, backend);
    await backend.forRoot(contextOf(call));
    const { action, version } = request;
    if (action !== Action.CANCEL && !VERSION_FORM.test(version)) {
      throw refusal(rpcStatus.invalidArgument, 'wrong downgrade target version format');
    }
    // As in etcd the member first hears from the cluster whether a downgrade is under way.
    await backend.memberList({ linearizable: true }, contextOf(call));
    switch (action) {
      case Action.VALIDATE:
      case Action.ENABLE:
        throw refusal(rpcStatus.invalidArgument, 'invalid downgrade target version');
      case Action.CANCEL:
        throw refusal(rpcStatus.failedPrecondition, 'no inflight downgrade job');
      default:
        throw refusal(rpcStatus.unknown, 'unknown method');
    }
  });
}

/** `major.minor`, or a whole semantic version. */
const VERSION_FORM = /^\d+\.\d+(\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)?$/;

function refusal(code: RpcStatusCode, text: string): RpcError {
  return new RpcError(code, `etcdserver: ${text}`);
}
