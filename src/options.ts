import { parseDuration } from './lib/duration.ts';
import { isRegion, REGION_LENGTH_MAX } from './lib/region.ts';
import { type AuthTokenOptions, parseAuthToken } from './option-auth.ts';
import { EXPERIMENTAL_PREFIX, FIXED_FLAGS, SERVER_FLAGS, UNSUPPORTED_FLAGS } from './option-flags.ts';
import { SERVICE_CLIENT_VARIABLES, type ServiceSettings, serviceSettings } from './option-service.ts';
import {
  badOptions,
  type FlagTable,
  type OptionSources,
  parseUrl,
  readSettings,
  type Settings,
  urlList,
} from './option-settings.ts';
import { isLoopback, type TlsOptions, tlsOptions } from './option-tls.ts';

export { SERVER_FLAGS, type ServerFlag } from './option-flags.ts';

/** debug: per message; info: roles, membership, start; warn: may heal; error: a request or data is lost. */
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** One line of `--initial-cluster`: a member's name and all its peer URLs, in the order given. */
export interface InitialMember {
  readonly name: string;
  readonly peerUrls: readonly string[];
}

/** Everything that decides how one member process runs; complete, validated, defaults filled in. */
export interface ServerOptions {
  readonly name: string;
  readonly dataDir: string;
  /** URLs are `http://host:port` or `https://host:port`, no path; at least one each, `listenHttpUrls` aside. */
  readonly listenClientUrls: readonly string[];
  readonly advertiseClientUrls: readonly string[];
  readonly listenPeerUrls: readonly string[];
  readonly initialAdvertisePeerUrls: readonly string[];
  /** Where the configuration service, health and metrics are served over HTTP; may be empty. */
  readonly listenHttpUrls: readonly string[];
  /** How https addresses for clients, and `listenHttpUrls`, are served; null = there is no certificate. */
  readonly clientTls: TlsOptions | null;
  /** How https addresses between members are served and dialed; null = there is no certificate. */
  readonly peerTls: TlsOptions | null;
  /** Plain text is allowed to leave this machine. */
  readonly allowInsecureTransport: boolean;
  /** Contains this member. Read only while the data directory is empty. */
  readonly initialCluster: readonly InitialMember[];
  readonly initialClusterState: 'new' | 'existing';
  readonly initialClusterToken: string;
  readonly forceNewCluster: boolean;
  /** Where this member runs, as `isRegion` allows; null: it does not say. */
  readonly region: string | null;
  /** Where the leader should be, best first; empty: anywhere. */
  readonly leaderRegions: readonly string[];
  readonly heartbeatIntervalMs: number;
  /** At least five heartbeats. */
  readonly electionTimeoutMs: number;
  /** Between two proofs of the state's age, while clients rely on it. */
  readonly freshnessIntervalMs: number;
  readonly learnerLinearizableReads: boolean;
  /** Entries applied between two log compactions. */
  readonly snapshotCount: number;
  /** Entries kept in the log below a compaction, for members that lag. */
  readonly snapshotCatchUpEntries: number;
  readonly quotaBackendBytes: number;
  /** What history is kept for; null: until somebody compacts. */
  readonly autoCompaction: AutoCompactionOption | null;
  /** Origins whose web pages may use the JSON gateway; `*` for all. */
  readonly corsOrigins: readonly string[];
  /** Where flagd's clients are served besides; may be empty. */
  readonly listenFlagdUrls: readonly string[];
  readonly maxRequestBytes: number;
  readonly maxTxnOps: number;
  /** Calls open at a time on one client connection. */
  readonly maxConcurrentStreams: number;
  readonly authToken: AuthTokenOptions;
  readonly authTokenTtlMs: number;
  /** Cost of a password hash: each step doubles its time and memory. */
  readonly passwordCost: number;
  readonly service: ServiceSettings;
  readonly logLevel: LogLevel;
}

/** A member's `AutoCompactionPolicy`. */
export type AutoCompactionOption =
  | { readonly mode: 'periodic'; readonly periodMs: number }
  | { readonly mode: 'revision'; readonly revisions: number };

/**
 * The options of `conclave server`. A flag (`--name n1`, `--name=n1`, one dash as well) wins over the environment
 * (`CONCLAVE_NAME`), which wins over the YAML file (`name: n1`). No source's unknown name is let pass, and a flag
 * of etcd's that is not built is refused wherever it is set.
 *
 * @param argv what follows the word `server`
 * @throws StoreError `bad-options` naming the flag, its source and the value
 */
export function parseServerOptions(argv: readonly string[], sources: OptionSources): ServerOptions {
  return validated(readSettings(SERVER_TABLE, argv, sources));
}

/** Variables of the same prefix that the client commands read. */
const CLIENT_VARIABLES: ReadonlySet<string> = new Set([
  'CONCLAVE_ENDPOINTS',
  'CONCLAVE_TIMEOUT',
  'CONCLAVE_CACERT',
  'CONCLAVE_CERT',
  'CONCLAVE_KEY',
  'CONCLAVE_INSECURE_SKIP_TLS_VERIFY',
  'CONCLAVE_INSECURE_TRANSPORT',
  'CONCLAVE_USER',
  'CONCLAVE_PASSWORD',
  ...SERVICE_CLIENT_VARIABLES,
]);

const SERVER_TABLE: FlagTable = {
  command: 'server',
  flags: SERVER_FLAGS,
  fixed: FIXED_FLAGS,
  unsupported: UNSUPPORTED_FLAGS,
  unsupportedPrefix: EXPERIMENTAL_PREFIX,
  otherVariables: CLIENT_VARIABLES,
};

// ---- validation ---------------------------------------------------------------------------------------------

const MS_PER_HOUR = 3_600_000;
const LIMITS = {
  heartbeatMs: { min: 1, max: 10_000 },
  electionMs: { min: 5, max: 50_000 },
  freshnessMs: { min: 20, max: 10_000 },
  entries: { min: 1, max: 100_000_000 },
  quotaBytes: { min: 0, max: Number.MAX_SAFE_INTEGER },
  requestBytes: { min: 1024, max: 10 * 1024 * 1024 },
  retentionMs: { min: 1_000, max: 10 * 365 * 24 * MS_PER_HOUR },
  txnOps: { min: 1, max: 65_536 },
  streams: { min: 1, max: 2 ** 32 - 1 },
  tokenTtlSeconds: { min: 1, max: 86_400 * 365 },
  passwordCost: { min: 4, max: 13 },
} as const;
const ELECTION_HEARTBEATS_MIN = 5;
/** Regions in `--leader-regions`. */
export const LEADER_REGIONS_MAX = 16;
/** What `--quota-backend-bytes=0` means: 2 GiB. */
const QUOTA_BYTES_DEFAULT = 2 * 1024 ** 3;

function validated(settings: Settings): ServerOptions {
  const name = memberName(settings);
  const listenClientUrls = settings.urls('listen-client-urls');
  const listenPeerUrls = settings.urls('listen-peer-urls');
  const initialAdvertisePeerUrls = advertised(settings, {
    advertise: 'initial-advertise-peer-urls',
    listen: 'listen-peer-urls',
  });
  const advertiseClientUrls = advertised(settings, {
    advertise: 'advertise-client-urls',
    listen: 'listen-client-urls',
  });
  const quota = settings.integer('quota-backend-bytes', LIMITS.quotaBytes);
  const listenHttpUrls = settings.urls('listen-http-urls');
  const listenFlagdUrls = settings.urls('listen-flagd-urls');
  const cluster = initialCluster(settings, { name, peerUrls: initialAdvertisePeerUrls });
  const clientTls = tlsOptions('client', settings, [
    ...listenClientUrls,
    ...listenHttpUrls,
    ...listenFlagdUrls,
  ]);
  const peerTls = tlsOptions('peer', settings, [
    ...listenPeerUrls,
    ...cluster.flatMap((member) => member.peerUrls),
  ]);
  const allowInsecureTransport = settings.boolean('allow-insecure-transport');
  if (!allowInsecureTransport) {
    refusePlain('--listen-client-urls', listenClientUrls);
    refusePlain('--listen-peer-urls', listenPeerUrls);
    refusePlain('--listen-http-urls', listenHttpUrls);
    refusePlain('--listen-flagd-urls', listenFlagdUrls);
    refusePlain(
      settings.given('initial-cluster')?.label ?? '--initial-advertise-peer-urls',
      cluster.flatMap((member) => member.peerUrls),
    );
  }
  return {
    name,
    dataDir: settings.given('data-dir')?.text ?? `${name}.conclave`,
    listenClientUrls,
    advertiseClientUrls,
    listenPeerUrls,
    initialAdvertisePeerUrls,
    listenHttpUrls,
    clientTls,
    peerTls,
    allowInsecureTransport,
    initialCluster: cluster,
    initialClusterState: settings.oneOf('initial-cluster-state', ['new', 'existing']),
    initialClusterToken: settings.text('initial-cluster-token'),
    forceNewCluster: settings.boolean('force-new-cluster'),
    region: memberRegion(settings),
    leaderRegions: leaderRegions(settings),
    freshnessIntervalMs: settings.integer('freshness-interval', LIMITS.freshnessMs),
    learnerLinearizableReads: settings.boolean('learner-linearizable-reads'),
    ...timing(settings),
    snapshotCount: settings.integer('snapshot-count', LIMITS.entries),
    snapshotCatchUpEntries: settings.integer('snapshot-catchup-entries', LIMITS.entries),
    quotaBackendBytes: quota === 0 ? QUOTA_BYTES_DEFAULT : quota,
    autoCompaction: autoCompaction(settings),
    corsOrigins: corsOrigins(settings),
    listenFlagdUrls,
    maxRequestBytes: settings.integer('max-request-bytes', LIMITS.requestBytes),
    maxTxnOps: settings.integer('max-txn-ops', LIMITS.txnOps),
    maxConcurrentStreams: settings.integer('max-concurrent-streams', LIMITS.streams),
    authToken: parseAuthToken(settings.or('auth-token')),
    authTokenTtlMs: 1_000 * settings.integer('auth-token-ttl', LIMITS.tokenTtlSeconds),
    passwordCost: settings.integer('bcrypt-cost', LIMITS.passwordCost),
    service: serviceSettings(settings),
    logLevel: settings.oneOf('log-level', LOG_LEVELS),
  };
}

function memberRegion(settings: Settings): string | null {
  const setting = settings.given('region');
  return setting === null ? null : regionName(setting.text, setting.label);
}

function leaderRegions(settings: Settings): readonly string[] {
  const { label, text } = settings.or('leader-regions');
  if (text === '') return [];
  const regions = text.split(',').map((part) => regionName(part.trim(), label));
  if (regions.length > LEADER_REGIONS_MAX)
    throw badOptions(`${label}: more than ${LEADER_REGIONS_MAX} regions`);
  if (new Set(regions).size < regions.length) throw badOptions(`${label}: a region is named twice`);
  return regions;
}

function regionName(text: string, label: string): string {
  if (isRegion(text)) return text;
  throw badOptions(
    `${label}: '${text}' is no region: 1 to ${REGION_LENGTH_MAX} letters, digits, '.', '_' and '-'`,
  );
}

/** As etcd reads it: a bare number is hours or revisions, by the mode; anything else is a duration. */
function autoCompaction(settings: Settings): AutoCompactionOption | null {
  const mode = settings.oneOf('auto-compaction-mode', ['periodic', 'revision']);
  const { label, text } = settings.or('auto-compaction-retention');
  const count = /^\d+$/.test(text) ? Number(text) : null;
  if (count === 0) return null;
  if (mode === 'revision') {
    if (count === null || !Number.isSafeInteger(count)) {
      throw badOptions(`${label}: '${text}' is not a number of revisions`);
    }
    return { mode, revisions: count };
  }
  const periodMs = count === null ? parseDuration(text) : count * MS_PER_HOUR;
  if (periodMs === null) {
    throw badOptions(`${label}: '${text}' is neither a number of hours nor a duration such as 30m or 1h30m`);
  }
  if (periodMs === 0) return null;
  if (periodMs < LIMITS.retentionMs.min || periodMs > LIMITS.retentionMs.max) {
    throw badOptions(`${label}: ${text} is outside 1s to ${LIMITS.retentionMs.max / MS_PER_HOUR}h`);
  }
  return { mode, periodMs };
}

/** @throws StoreError `bad-options` */
export function corsOrigins(settings: Settings): readonly string[] {
  const { label, text } = settings.or('cors');
  const origins = text.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]));
  const wrong = origins.find((origin) => origin !== '*' && !/^https?:\/\/[^/?#\s]+$/.test(origin));
  if (wrong !== undefined) {
    throw badOptions(`${label}: '${wrong}' is no origin, such as https://console.example.com, or *`);
  }
  return origins;
}

/** Plain text stays on this machine unless it was asked for. @throws StoreError `bad-options` */
export function refusePlain(label: string, urls: readonly string[]): void {
  const plain = urls.find((url) => url.startsWith('http:') && !isLoopback(url));
  if (plain === undefined) return;
  throw badOptions(
    `${label}: ${plain} would leave this machine unencrypted; use https:// or --allow-insecure-transport`,
  );
}

function memberName(settings: Settings): string {
  const { label, text } = settings.or('name');
  if (!/^[^\s=,/]+$/.test(text)) {
    throw badOptions(`${label}: '${text}' is not a member name (no spaces, '=', ',' or '/')`);
  }
  return text;
}

function timing(settings: Settings): Pick<ServerOptions, 'heartbeatIntervalMs' | 'electionTimeoutMs'> {
  const heartbeatIntervalMs = settings.integer('heartbeat-interval', LIMITS.heartbeatMs);
  const electionTimeoutMs = settings.integer('election-timeout', LIMITS.electionMs);
  if (electionTimeoutMs < ELECTION_HEARTBEATS_MIN * heartbeatIntervalMs) {
    const { label } = settings.or('election-timeout');
    const least = `${ELECTION_HEARTBEATS_MIN} times --heartbeat-interval (${heartbeatIntervalMs} ms)`;
    throw badOptions(`${label}: ${electionTimeoutMs} ms is less than ${least}`);
  }
  return { heartbeatIntervalMs, electionTimeoutMs };
}

/** The addresses others are told; by default those listened on, which a wildcard address cannot stand in for. */
function advertised(
  settings: Settings,
  names: { readonly advertise: string; readonly listen: string },
): readonly string[] {
  const given = settings.given(names.advertise);
  const urls = given === null ? settings.urls(names.listen) : urlList(given);
  const wildcard = urls.find((url) => /^https?:\/\/(0\.0\.0\.0|\[::\]):/.test(url));
  if (wildcard === undefined) return urls;
  if (given !== null) throw badOptions(`${given.label}: ${wildcard} is no address that others can reach`);
  throw badOptions(
    `--${names.advertise} is needed when --${names.listen} is a wildcard address (${wildcard})`,
  );
}

function initialCluster(settings: Settings, self: InitialMember): readonly InitialMember[] {
  const setting = settings.given('initial-cluster');
  if (setting === null) return [self];
  const members = parseInitialCluster(setting.text, setting.label);
  const own = members.find((member) => member.name === self.name);
  if (own === undefined) {
    throw badOptions(`${setting.label}: '${setting.text}' does not name this member (--name ${self.name})`);
  }
  if ([...own.peerUrls].sort().join() !== [...self.peerUrls].sort().join()) {
    const here = `--initial-advertise-peer-urls is ${self.peerUrls.join(',')}`;
    throw badOptions(`${setting.label}: ${self.name} has ${own.peerUrls.join(',')}, but ${here}`);
  }
  return members;
}

/**
 * Reads `n1=http://h1:2380,n2=http://h2:2380`; a name that comes again adds another URL of that member.
 *
 * @param label what to call the value's origin in an error
 * @throws StoreError `bad-options`
 */
export function parseInitialCluster(text: string, label: string): readonly InitialMember[] {
  const members = new Map<string, string[]>();
  const owners = new Map<string, string>();
  for (const part of text.split(',')) {
    const match = /^\s*([^\s=]+)=(\S+)\s*$/.exec(part);
    if (match === null) throw badOptions(`${label}: '${part}' is not of the form name=http://host:port`);
    const name = match[1]!;
    const url = parseUrl(match[2]!, label);
    if (owners.has(url))
      throw badOptions(`${label}: ${url} is given for ${owners.get(url)!} and for ${name}`);
    owners.set(url, name);
    const urls = members.get(name);
    if (urls === undefined) members.set(name, [url]);
    else urls.push(url);
  }
  return [...members].map(([name, peerUrls]) => ({ name, peerUrls }));
}

/**
 * Reads a comma-separated list of `http://host:port`; empty text gives an empty list.
 *
 * @throws StoreError `bad-options`
 */
export function parseUrlList(text: string, label: string): readonly string[] {
  return urlList({ text, label });
}
