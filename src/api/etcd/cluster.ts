import { StoreError } from '../../lib/errors.ts';
import type { Header } from '../../member/client-calls.ts';
import type { MemberInfo } from '../../member/membership.ts';
import type * as wire from '../../rpc/generated/etcdserverpb/rpc.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { unary } from '../../rpc/service.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import { saturated } from './translate.ts';

/** Registers `etcdserverpb.Cluster`. */
export function registerCluster(server: RpcServer, backend: EtcdBackend): void {
  unary(server, '/etcdserverpb.Cluster/MemberAdd', async (request, call) => {
    requireLeader(call, backend);
    checkPeerUrls(request.peerURLs);
    const { header, result } = await backend.memberAdd(
      { peerUrls: request.peerURLs, isLearner: request.isLearner },
      contextOf(call),
    );
    return {
      header: clusterHeader(header),
      member: wireMember(result.member),
      members: result.members.map(wireMember),
    };
  });

  unary(server, '/etcdserverpb.Cluster/MemberRemove', async (request, call) => {
    requireLeader(call, backend);
    const { header, result } = await backend.memberRemove({ id: saturated(request.ID) }, contextOf(call));
    return { header: clusterHeader(header), members: result.map(wireMember) };
  });

  unary(server, '/etcdserverpb.Cluster/MemberUpdate', async (request, call) => {
    requireLeader(call, backend);
    checkPeerUrls(request.peerURLs);
    const { header, result } = await backend.memberUpdate(
      { id: saturated(request.ID), peerUrls: request.peerURLs },
      contextOf(call),
    );
    return { header: clusterHeader(header), members: result.map(wireMember) };
  });

  unary(server, '/etcdserverpb.Cluster/MemberPromote', async (request, call) => {
    requireLeader(call, backend);
    const { header, result } = await backend.memberPromote({ id: saturated(request.ID) }, contextOf(call));
    return { header: clusterHeader(header), members: result.map(wireMember) };
  });

  unary(server, '/etcdserverpb.Cluster/MemberList', async (request, call) => {
    requireLeader(call, backend);
    const { header, result } = await backend.memberList(
      { linearizable: request.linearizable },
      contextOf(call),
    );
    return { header: clusterHeader(header), members: result.map(wireMember) };
  });
}

/** Answers about members say nothing of the store's revision. */
function clusterHeader(header: Header): wire.ResponseHeader {
  return {
    cluster_id: header.clusterId,
    member_id: header.memberId,
    revision: 0,
    raft_term: header.raftTerm,
  };
}

function wireMember(member: MemberInfo): wire.Member {
  return {
    ID: member.id,
    name: member.name,
    peerURLs: [...member.peerUrls],
    clientURLs: [...member.clientUrls],
    isLearner: member.isLearner,
    ...(member.region !== undefined && { region: member.region }),
  };
}

/** One or more of scheme, host and port, and nothing else. */
function checkPeerUrls(urls: readonly string[]): void {
  const valid = (url: string): boolean =>
    /^https?:\/\/(\[[0-9a-fA-F:.%]+\]|[^/:?#@[\]\s]+):\d{1,5}$/.test(url);
  if (urls.length === 0 || !urls.every(valid)) throw new StoreError('member-bad-urls');
}
