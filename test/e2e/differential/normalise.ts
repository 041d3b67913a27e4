import { canonical, type Plain } from './plain.ts';

/**
 * The one place where answers are changed before they are compared: what differs between any two clusters, or
 * between two runs of one (docs/etcd-compatibility.md, "How it is compared").
 */

/** What a server is known by; it stands for itself in every answer. */
export interface Identity {
  readonly cluster: string;
  readonly member: number | bigint;
  readonly term: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** Ids of leases that the server chose. */
  readonly chosenLeases: Set<string>;
}

const COMPACTED = 'etcdserver: mvcc: required revision has been compacted';

type Message = { readonly [field: string]: Plain };

/** Sorting by anything but the key leaves etcd's ties in chance order beyond this many keys (Go's `sort.Sort`). */
const STABLE_SORT_KEYS_MAX = 12;

export function normalised(path: string, request: object, answer: Plain, identity: Identity): Plain {
  const message = { ...(answer as Message) };
  if (message['header'] !== undefined) message['header'] = header(message['header'], identity);
  switch (path) {
    case 'KV/Range':
      return range(message, request as RangeFields);
    case 'KV/Txn':
      return txn(message, request as TxnFields);
    case 'Lease/LeaseGrant':
      // The server chose the id.
      if (!hasId(request)) {
        identity.chosenLeases.add(text(message['ID']));
        return { ...message, ID: '(chosen)' };
      }
      return message;
    case 'Lease/LeaseTimeToLive':
      return remaining(message);
    case 'Lease/LeaseLeases':
      return { ...message, leases: leases(message['leases'], identity) };
    case 'Maintenance/Status':
      return status(message, identity);
    case 'Maintenance/Hash':
    case 'Maintenance/HashKV':
      return { ...message, hash: '(hash)' };
    case 'Maintenance/Alarm':
      return { ...message, alarms: list(message['alarms']).map((item) => own(item, 'memberID', identity)) };
    case 'Auth/Authenticate':
      return { ...message, token: '(token)' };
    default:
      if (message['members'] === undefined) return message;
      return { ...message, members: list(message['members']).map((item) => member(item, identity)) };
  }
}

/** The items of one message on a watch stream, and whose they are. */
export function normalisedWatch(
  answer: Plain,
  identity: Identity,
): { readonly id: string; readonly items: readonly Plain[]; readonly isAnswer: boolean } {
  const message = answer as Message;
  const head = header(message['header'] ?? {}, identity) as Message;
  const revision = text(head['revision']);
  const id = text(message['watch_id']);
  const events = list(message['events']);
  if (events.length > 0) {
    // How many events share a message, and so its revision, is a matter of timing; it never lags behind them.
    const behind = events.filter((event) => modRevision(event) > BigInt(revision));
    const items = behind.length === 0 ? events : [...events, { header: revision, behind }];
    return { id, items, isAnswer: false };
  }
  const { header: _, watch_id: __, ...rest } = message;
  if (rest['created'] === undefined && rest['canceled'] === undefined) {
    return { id, items: [{ progress: revision, ...rest }], isAnswer: true };
  }
  // When a watch that waits for history is cancelled by a compaction is a matter of timing, too.
  if (rest['compact_revision'] !== undefined) {
    // Intended: we say why, etcd leaves it to the revision.
    const { cancel_reason: reason, ...item } = rest;
    const told = reason === undefined || reason === COMPACTED;
    return { id, items: [told ? item : rest], isAnswer: false };
  }
  return { id, items: [{ ...rest, header: head }], isAnswer: true };
}

/** Ids and the term stand for themselves; the revision is compared. Headers within a transaction have no ids. */
function header(value: Plain, identity: Identity): Plain {
  const message = { ...(value as Record<string, Plain>) };
  if (message['cluster_id'] === identity.cluster) message['cluster_id'] = '(cluster)';
  if (message['member_id'] === String(identity.member)) message['member_id'] = '(member)';
  if (message['raft_term'] === identity.term) message['raft_term'] = '(term)';
  return message;
}

interface RangeFields {
  readonly sort_target?: number;
  readonly limit?: number;
}

/** Equal sort values beyond etcd's stable sizes: in order of the key, and of those at the limit only how many. */
function range(message: Message, request: RangeFields): Plain {
  const target = SORT_FIELDS[request.sort_target ?? 0];
  const kvs = list(message['kvs']);
  if (target === undefined || Number(message['count'] ?? 0) <= STABLE_SORT_KEYS_MAX) return message;
  const groups: Plain[][] = [];
  let last: string | null = null;
  for (const kv of kvs) {
    const value = canonical((kv as Message)[target] ?? null);
    if (value === last) groups.at(-1)!.push(kv);
    else groups.push([kv]);
    last = value;
  }
  const isCut = message['more'] === true;
  const sorted = groups.map((group, index): Plain => {
    if (isCut && index === groups.length - 1) return { tied: String(group.length) };
    return group.map(canonical).sort();
  });
  return { ...message, kvs: sorted };
}
const SORT_FIELDS: Readonly<Record<number, string>> = {
  1: 'version',
  2: 'create_revision',
  3: 'mod_revision',
  4: 'value',
};

interface TxnFields {
  readonly success?: readonly OpFields[];
  readonly failure?: readonly OpFields[];
}
interface OpFields {
  readonly request_range?: RangeFields;
  readonly request_txn?: TxnFields;
}

/** Ranges within a transaction have the same ties. */
function txn(message: Message, request: TxnFields): Plain {
  const asked = (message['succeeded'] === true ? request.success : request.failure) ?? [];
  const responses = list(message['responses']).map((response, index): Plain => {
    const op = asked[index];
    const fields = response as Message;
    const inner = fields['response_range'];
    if (op?.request_range && inner) return { response_range: range(inner as Message, op.request_range) };
    const nested = fields['response_txn'];
    if (op?.request_txn && nested) return { response_txn: txn(nested as Message, op.request_txn) };
    return response;
  });
  return { ...message, responses };
}

/** Seconds pass between two answers; etcd lists a lease's keys in no order. */
function remaining(message: Message): Plain {
  const ttl = Number(message['TTL'] ?? 0);
  const granted = Number(message['grantedTTL'] ?? 0);
  const keys = list(message['keys']).map(text).sort();
  return { ...message, keys, TTL: ttl >= 0 && ttl <= granted ? '(remaining)' : String(ttl) };
}

/** etcd lists leases by when they end. */
function leases(value: Plain | undefined, identity: Identity): Plain {
  return list(value)
    .map((item) => text((item as Message)['ID']))
    .map((id) => (identity.chosenLeases.has(id) ? '(chosen)' : id))
    .sort();
}

/** What is left is who leads, what is wrong, and what a member is. */
function status(message: Message, identity: Identity): Plain {
  const { header: head, errors, isLearner } = message;
  const leader = message['leader'] === String(identity.member) ? '(member)' : (message['leader'] ?? '0');
  // A text of etcd's names the member.
  const texts = list(errors).map((error) =>
    text(error).replaceAll(BigInt.asUintN(64, BigInt(identity.member)).toString(), '(member)'),
  );
  return { header: head ?? null, leader, errors: texts, isLearner: isLearner ?? false };
}

function member(value: Plain, identity: Identity): Plain {
  const urls = (url: Plain): Plain =>
    url === identity.peerUrl ? '(peer)' : url === identity.clientUrl ? '(client)' : url;
  const fields = own(value, 'ID', identity) as Message;
  return {
    ...fields,
    peerURLs: list(fields['peerURLs']).map(urls),
    clientURLs: list(fields['clientURLs']).map(urls),
  };
}

function own(value: Plain, field: string, identity: Identity): Plain {
  const message = value as Message;
  return message[field] === String(identity.member) ? { ...message, [field]: '(member)' } : message;
}

function list(value: Plain | undefined): readonly Plain[] {
  return Array.isArray(value) ? (value as readonly Plain[]) : [];
}

/** A number as text; absent ones are 0. */
function text(value: Plain | undefined): string {
  return typeof value === 'string' ? value : value === undefined ? '0' : canonical(value);
}

function modRevision(event: Plain): bigint {
  const kv = (event as Message)['kv'] as Message;
  return BigInt(text(kv['mod_revision']));
}

function hasId(request: object): boolean {
  const { ID } = request as { readonly ID?: number | bigint };
  return ID !== undefined && BigInt(ID) !== 0n;
}
