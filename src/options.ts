import { createRequire } from 'node:module';
import type * as yaml from 'yaml';
import { parseDuration } from './lib/duration.ts';
import { StoreError } from './lib/errors.ts';
import { isRegion, REGION_LENGTH_MAX } from './lib/region.ts';
import { type AuthTokenOptions, parseAuthToken } from './option-auth.ts';
import {
  EXPERIMENTAL_PREFIX,
  FIXED_FLAGS,
  SERVER_FLAGS,
  type ServerFlag,
  UNSUPPORTED_FLAGS,
} from './option-flags.ts';
import { isLoopback, type TlsOptions, tlsOptions } from './option-tls.ts';

export { SERVER_FLAGS, type ServerFlag } from './option-flags.ts';

/** debug: per message; info: roles, membership, start; warn: may heal; error: a request or data is lost. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

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
  /** Where health and metrics are served besides the client port; may be empty. */
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
  readonly maxRequestBytes: number;
  readonly maxTxnOps: number;
  /** Calls open at a time on one client connection. */
  readonly maxConcurrentStreams: number;
  readonly authToken: AuthTokenOptions;
  readonly authTokenTtlMs: number;
  /** Cost of a password hash: each step doubles its time and memory. */
  readonly passwordCost: number;
  readonly logLevel: LogLevel;
}

/** A member's `AutoCompactionPolicy`. */
export type AutoCompactionOption =
  | { readonly mode: 'periodic'; readonly periodMs: number }
  | { readonly mode: 'revision'; readonly revisions: number };

/** Where options come from besides the command line. */
export interface OptionSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads the file of `--config-file` as text; whatever it throws becomes a bad option. */
  readonly readFile: (path: string) => string;
}

/**
 * The options of `conclave server`. A flag (`--name n1`, `--name=n1`, one dash as well) wins over the environment
 * (`CONCLAVE_NAME`), which wins over the YAML file (`name: n1`). No source's unknown name is let pass, and a flag
 * of etcd's that is not built is refused wherever it is set.
 *
 * @param argv what follows the word `server`
 * @throws StoreError `bad-options` naming the flag, its source and the value
 */
export function parseServerOptions(argv: readonly string[], sources: OptionSources): ServerOptions {
  const flags = readArgv(argv);
  const environment = readEnvironment(sources.env);
  const configFile = flags.get('config-file') ?? environment.get('config-file');
  const file =
    configFile === undefined ? new Map<string, Setting>() : readConfigFile(configFile, sources.readFile);
  const settings = new Settings([flags, environment, file]);
  return validated(settings);
}

/** What went wrong, in one sentence, without the code that precedes it in an error's message. */
export function badOptions(detail: string, cause?: unknown): StoreError {
  return new StoreError('bad-options', detail, cause === undefined ? undefined : { cause });
}

/** A value and what a person calls the place it was set in: `--name`, `CONCLAVE_NAME` or `name in conclave.yaml`. */
interface Setting {
  readonly label: string;
  readonly text: string;
}
type Source = ReadonlyMap<string, Setting>;

const FLAGS: ReadonlyMap<string, ServerFlag> = new Map(SERVER_FLAGS.map((flag) => [flag.name, flag]));

/** Refuses what is unknown or not built; a fixed flag passes when it asks for what always holds. */
function admit(name: string, setting: Setting): 'take' | 'drop' {
  if (FLAGS.has(name)) return 'take';
  const fixed = FIXED_FLAGS.get(name);
  if (fixed !== undefined) {
    if (setting.text === fixed.only) return 'drop';
    throw badOptions(`${setting.label}=${setting.text} is not supported by this version: ${fixed.reason}`);
  }
  if (UNSUPPORTED_FLAGS.has(name) || name.startsWith(EXPERIMENTAL_PREFIX)) {
    const hint = UNSUPPORTED_FLAGS.get(name) ?? '';
    throw badOptions(`${setting.label} is not supported by this version${hint === '' ? '' : `: ${hint}`}`);
  }
  throw badOptions(`unknown option ${setting.label}; 'conclave server --help' lists what there is`);
}

function isKnown(name: string): boolean {
  return FLAGS.has(name) || FIXED_FLAGS.has(name) || UNSUPPORTED_FLAGS.has(name);
}

// ---- command line -------------------------------------------------------------------------------------------

function readArgv(argv: readonly string[]): Source {
  const found = new Map<string, Setting>();
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at]!;
    const match = /^--?([a-z0-9][a-z0-9-]*)(?:=(.*))?$/s.exec(word);
    if (match === null) throw badOptions(`'${word}' is not a flag; every option starts with --`);
    const name = match[1]!;
    const label = `--${name}`;
    let text = match[2];
    if (text === undefined) {
      // A boolean flag never takes the next word, as in etcd: `--force-new-cluster --name n1`.
      if (takesNoWord(name)) text = 'true';
      else if (FLAGS.has(name)) {
        at += 1;
        text = argv[at];
        if (text === undefined) throw badOptions(`${label} needs a value`);
      } else text = '';
    }
    if (admit(name, { label, text }) === 'drop') continue;
    if (found.has(name)) throw badOptions(`${label} is given twice`);
    found.set(name, { label, text });
  }
  return found;
}

function takesNoWord(name: string): boolean {
  return FLAGS.get(name)?.kind === 'boolean' || FIXED_FLAGS.has(name);
}

// ---- environment --------------------------------------------------------------------------------------------

const ENVIRONMENT_PREFIX = 'CONCLAVE_';

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
]);

/** What container platforms set for every service whose name starts with ours (`CONCLAVE_PORT_2379_TCP_ADDR`). */
const SERVICE_LINK =
  /^CONCLAVE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

function readEnvironment(env: OptionSources['env']): Source {
  const found = new Map<string, Setting>();
  for (const label of Object.keys(env).sort()) {
    const text = env[label];
    if (!label.startsWith(ENVIRONMENT_PREFIX) || text === undefined) continue;
    const name = label.slice(ENVIRONMENT_PREFIX.length).toLowerCase().replaceAll('_', '-');
    if (CLIENT_VARIABLES.has(label) || (SERVICE_LINK.test(label) && !isKnown(name))) continue;
    if (admit(name, { label, text }) === 'take') found.set(name, { label, text });
  }
  return found;
}

// ---- file ---------------------------------------------------------------------------------------------------

function readConfigFile(path: Setting, readFile: OptionSources['readFile']): Source {
  const document = loadYaml(path, readFile);
  const found = new Map<string, Setting>();
  if (document === null || document === undefined) return found;
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw badOptions(`${path.label}: ${path.text} must hold 'option: value' lines`);
  }
  for (const [name, value] of Object.entries(document)) {
    const label = `'${name}' in ${path.text}`;
    if (name === 'config-file') throw badOptions(`${label}: a file cannot name another file`);
    const text = scalarText(value);
    if (text === null)
      throw badOptions(`${label} must be a text, a number, true or false, or a list of texts`);
    if (admit(name, { label, text }) === 'take') found.set(name, { label, text });
  }
  return found;
}

function loadYaml(path: Setting, readFile: OptionSources['readFile']): unknown {
  let text: string;
  try {
    text = readFile(path.text);
  } catch (cause) {
    throw badOptions(`${path.label}: cannot read ${path.text}: ${reasonOf(cause)}`, cause);
  }
  try {
    // Most servers have no such file, and need not wait for what reads it to be loaded.
    const { parseDocument } = createRequire(import.meta.url)('yaml') as typeof yaml;
    const document = parseDocument(text, { stringKeys: true });
    // What it only warns of, such as an unknown tag, it would take for something else than was meant.
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem !== undefined) throw problem;
    return document.toJS() as unknown;
  } catch (cause) {
    throw badOptions(`${path.label}: ${path.text} is not YAML: ${reasonOf(cause)}`, cause);
  }
}

function scalarText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join(',');
  return null;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.split('\n')[0]! : String(cause);
}

// ---- typed access -------------------------------------------------------------------------------------------

/** The sources in order of precedence; answers typed values, the flag table's default when no source has one. */
class Settings {
  readonly #sources: readonly Source[];

  constructor(sources: readonly Source[]) {
    this.#sources = sources;
  }

  /** Null when no source sets it; an empty text counts as not set, as in etcd. */
  given(name: string): Setting | null {
    for (const source of this.#sources) {
      const setting = source.get(name);
      if (setting !== undefined && setting.text !== '') return setting;
    }
    return null;
  }

  or(name: string): Setting {
    return this.given(name) ?? { label: `--${name}`, text: FLAGS.get(name)!.default };
  }

  text(name: string): string {
    return this.or(name).text;
  }

  boolean(name: string): boolean {
    const { label, text } = this.or(name);
    if (text === 'true' || text === '1') return true;
    if (text === 'false' || text === '0') return false;
    throw badOptions(`${label}: '${text}' is neither true nor false`);
  }

  integer(name: string, bounds: { readonly min: number; readonly max: number }): number {
    const { label, text } = this.or(name);
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isNaN(value)) throw badOptions(`${label}: '${text}' is not a whole number`);
    if (value < bounds.min || value > bounds.max) {
      throw badOptions(`${label}: ${text} is outside ${bounds.min} to ${bounds.max}`);
    }
    return value;
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T {
    const { label, text } = this.or(name);
    const value = values.find((candidate) => candidate === text);
    if (value === undefined) throw badOptions(`${label}: '${text}' is none of ${values.join(', ')}`);
    return value;
  }

  urls(name: string): readonly string[] {
    return urlList(this.or(name));
  }

  refuse(detail: string): StoreError {
    return badOptions(detail);
  }
}

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
  const cluster = initialCluster(settings, { name, peerUrls: initialAdvertisePeerUrls });
  const clientTls = tlsOptions('client', settings, [...listenClientUrls, ...listenHttpUrls]);
  const peerTls = tlsOptions('peer', settings, [
    ...listenPeerUrls,
    ...cluster.flatMap((member) => member.peerUrls),
  ]);
  const allowInsecureTransport = settings.boolean('allow-insecure-transport');
  if (!allowInsecureTransport) {
    refusePlain('--listen-client-urls', listenClientUrls);
    refusePlain('--listen-peer-urls', listenPeerUrls);
    refusePlain('--listen-http-urls', listenHttpUrls);
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
    maxRequestBytes: settings.integer('max-request-bytes', LIMITS.requestBytes),
    maxTxnOps: settings.integer('max-txn-ops', LIMITS.txnOps),
    maxConcurrentStreams: settings.integer('max-concurrent-streams', LIMITS.streams),
    authToken: parseAuthToken(settings.or('auth-token')),
    authTokenTtlMs: 1_000 * settings.integer('auth-token-ttl', LIMITS.tokenTtlSeconds),
    passwordCost: settings.integer('bcrypt-cost', LIMITS.passwordCost),
    logLevel: settings.oneOf('log-level', ['debug', 'info', 'warn', 'error']),
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

function corsOrigins(settings: Settings): readonly string[] {
  const { label, text } = settings.or('cors');
  const origins = text.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]));
  const wrong = origins.find((origin) => origin !== '*' && !/^https?:\/\/[^/?#\s]+$/.test(origin));
  if (wrong !== undefined) {
    throw badOptions(`${label}: '${wrong}' is no origin, such as https://console.example.com, or *`);
  }
  return origins;
}

/** Plain text stays on this machine unless it was asked for. */
function refusePlain(label: string, urls: readonly string[]): void {
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

function urlList({ label, text }: Setting): readonly string[] {
  if (text.trim() === '') return [];
  const urls = text.split(',').map((part) => parseUrl(part.trim(), label));
  const twice = urls.find((url, at) => urls.indexOf(url) !== at);
  if (twice !== undefined) throw badOptions(`${label}: ${twice} is given twice`);
  return urls;
}

function parseUrl(text: string, label: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !text.includes('://'))
    throw badOptions(`${label}: '${text}' is not of the form http://host:port`);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw badOptions(`${label}: '${text}': ${url.protocol}// is not supported; use http:// or https://`);
  }
  if (
    url.pathname !== '/' ||
    url.search !== '' ||
    url.hash !== '' ||
    url.username !== '' ||
    url.password !== ''
  ) {
    throw badOptions(`${label}: '${text}' must hold nothing but scheme, host and port`);
  }
  // URL drops a scheme's usual port, so the text itself tells whether one was written.
  if (!/:\d+\/?$/.test(text)) throw badOptions(`${label}: '${text}' has no port`);
  return `${url.protocol}//${url.hostname}:${url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port}`;
}
