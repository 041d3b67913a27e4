import type { MemberId } from '../core/raft/messages.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { abortError, StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { checkForm, Fields, MalformedError, pack, unpack } from '../lib/packed.ts';
import { withDeadline } from './deadline.ts';
import type { InitialCluster } from './identity.ts';
import type { MemberInfo } from './membership.ts';
import type { Clock, Transport } from './ports.ts';

/** One question to one address may take this long. */
const PROBE_TIMEOUT_MS = 2_000;
/** Rest between two rounds of questions. */
const ROUND_PAUSE_MS = 200;
/** Rounds after which the log says again what is being waited for. */
const REMIND_ROUNDS = 25;
/** Rounds in which members that run may still have to apply that this one was added. */
const PLACE_ROUNDS_MAX = 25;

/** A member, as far as somebody who looks for its place must know it. */
export type MemberAccount = Omit<MemberInfo, 'region'>;

/** What a member says of the cluster to somebody who is not yet, or no longer, part of it. */
export interface ClusterAccount {
  readonly clusterId: number;
  readonly members: readonly MemberAccount[];
  /** The ids this member has ever met as running members, itself included once it runs. */
  readonly met: readonly MemberId[];
  /** Members that were removed; their ids never return. */
  readonly removed: readonly MemberId[];
}

const PROBE_VERSION = 1;

export function encodeProbe(): Buffer {
  return pack([PROBE_VERSION]);
}

export function encodeAccount(account: ClusterAccount): Buffer {
  const members = account.members.map((member) => [
    member.id,
    member.name,
    member.peerUrls,
    member.clientUrls,
    member.isLearner,
  ]);
  return pack([PROBE_VERSION, account.clusterId, members, account.met, account.removed]);
}

/** @throws StoreError `cluster-id-mismatch` when the bytes are not an account of this version */
export function decodeAccount(bytes: Buffer): ClusterAccount {
  try {
    const fields = new Fields(unpack(bytes));
    checkForm(fields.natural() === PROBE_VERSION, 'an account is of an unknown version');
    const clusterId = fields.natural();
    const members = fields.list((value) => {
      const member = new Fields(value);
      return {
        id: member.natural(),
        name: member.text(),
        peerUrls: member.texts(),
        clientUrls: member.texts(),
        isLearner: member.boolean(),
      };
    });
    return { clusterId, members, met: fields.naturals(), removed: fields.naturals() };
  } catch (error) {
    if (error instanceof MalformedError) throw new StoreError('cluster-id-mismatch', 'a peer gave no sense');
    throw error;
  }
}

export interface BootstrapOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: CancelSignal;
}

/**
 * For a member with an empty directory: returns once so many others have said that they never met it that every
 * majority which could have counted an earlier vote of it is covered: n - majority + 1 of them.
 *
 * @param told where peers that have connected meanwhile say that they live
 * @throws StoreError `member-data-lost` when one has met it; `cluster-id-mismatch` when an address belongs to
 *   another cluster; `canceled`
 */
export async function confirmNeverMet(
  options: BootstrapOptions,
  cluster: InitialCluster,
  { self, told }: { readonly self: MemberId; readonly told?: ReadonlyMap<MemberId, readonly string[]> },
): Promise<void> {
  const others = cluster.members.filter((member) => member.id !== self);
  const majority = Math.floor(cluster.members.length / 2) + 1;
  const needed = Math.min(others.length, cluster.members.length - majority + 1);
  const answered = new Set<MemberId>();
  const urls = new Map(others.map(({ id, peerUrls }) => [id, peerUrls]));
  await inRounds(options, async (round) => {
    await Promise.all(
      others
        .filter((peer) => !answered.has(peer.id))
        .map(async (peer) => {
          const account = await askAny(options, [...urls.get(peer.id)!, ...(told?.get(peer.id) ?? [])]);
          if (account === null) return;
          checkCluster(account, cluster.clusterId, peer.name);
          // One that has moved is found through those that have not.
          for (const { id, peerUrls } of account.members)
            urls.set(id, [...new Set([...peerUrls, ...(urls.get(id) ?? [])])]);
          if (account.met.includes(self)) throw dataLost(peer.name);
          answered.add(peer.id);
        }),
    );
    if (answered.size >= needed) return true;
    if (round % REMIND_ROUNDS === 0) {
      options.logger.info(
        { answered: answered.size, needed },
        'waiting for the other members of the cluster',
      );
    }
    return false;
  });
}

/**
 * For a member told `existing` on an empty directory: finds the cluster through the addresses of the others, and
 * itself in it by its own peer URLs, and has the voters confirm that they never met it: a member that joined only
 * after this one was lost cannot know.
 *
 * @throws StoreError `member-not-found` when the cluster has no such member (it must be added first);
 *   `member-data-lost` when it has already run; `canceled`
 */
export async function findOwnPlace(
  options: BootstrapOptions,
  request: { readonly ownUrls: readonly string[]; readonly otherUrls: readonly string[] },
): Promise<{ readonly clusterId: number; readonly memberId: MemberId }> {
  const { clusterId, members, self } = await findOwnRecord(options, request);
  const voters = members.filter((member) => member.id === self.id || !member.isLearner);
  await confirmNeverMet(options, { clusterId, members: voters }, { self: self.id });
  return { clusterId, memberId: self.id };
}

/** Asks every address, for some time: a member that lags may not have applied yet that this one was added. */
async function findOwnRecord(
  options: BootstrapOptions,
  { ownUrls, otherUrls }: { readonly ownUrls: readonly string[]; readonly otherUrls: readonly string[] },
): Promise<ClusterAccount & { readonly self: MemberAccount }> {
  for (let round = 1; round <= PLACE_ROUNDS_MAX; round++) {
    if (round > 1) await pause(options);
    await findCluster(options, otherUrls);
    for (const url of otherUrls) {
      const account = await askAny(options, [url]);
      const self = account?.members.find((member) => member.peerUrls.some((own) => ownUrls.includes(own)));
      if (account !== null && self !== undefined) return { ...account, self };
    }
  }
  throw new StoreError('member-not-found', `the cluster has no member at ${ownUrls.join()}: add it first`);
}

/** The account of the first running member that answers at one of the addresses. @throws StoreError `canceled` */
export async function findCluster(
  options: BootstrapOptions,
  urls: readonly string[],
): Promise<ClusterAccount> {
  let found: ClusterAccount | null = null;
  await inRounds(options, async (round) => {
    for (const url of urls) {
      const account = await askAny(options, [url]);
      if (account !== null && account.members.length > 0) found = account;
    }
    if (found === null && round % REMIND_ROUNDS === 0)
      options.logger.info({ urls }, 'waiting for a member of the cluster');
    return found !== null;
  });
  if (found === null) throw abortError(options.signal);
  return found;
}

async function inRounds(
  options: BootstrapOptions,
  round: (number: number) => Promise<boolean>,
): Promise<void> {
  for (let number = 1; !options.signal.aborted; number++) {
    if (await round(number)) return;
    await pause(options);
  }
  throw abortError(options.signal);
}

function pause({ clock }: BootstrapOptions): Promise<void> {
  return new Promise<void>((resolve) => void clock.setTimer(resolve, ROUND_PAUSE_MS));
}

/** The first account that one of the addresses gives, or null when none answers. */
export async function askAny(
  options: BootstrapOptions,
  urls: readonly string[],
): Promise<ClusterAccount | null> {
  for (const url of urls) {
    try {
      const answer = await withDeadline(options.clock, PROBE_TIMEOUT_MS, (signal) =>
        options.transport.probe(url, encodeProbe(), signal),
      );
      return decodeAccount(answer);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.code === 'cluster-id-mismatch') throw error;
    }
  }
  return null;
}

function checkCluster(account: ClusterAccount, clusterId: number, peer: string): void {
  if (account.clusterId === clusterId) return;
  throw new StoreError(
    'cluster-id-mismatch',
    `${peer} belongs to cluster ${account.clusterId.toString(16)}, this member to ${clusterId.toString(16)}: ` +
      '--initial-cluster and --initial-cluster-token must be the same on every member',
  );
}

function dataLost(peer: string): StoreError {
  return new StoreError(
    'member-data-lost',
    `${peer} has met this member before, but its data directory is empty. It must not vote under its old name: ` +
      'remove the member from the cluster and add it anew',
  );
}
