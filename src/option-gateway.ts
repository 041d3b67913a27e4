import { SERVER_FLAGS, type ServerFlag } from './option-flags.ts';
import { SERVICE_CLIENT_VARIABLES, type ServiceSettings, serviceSettings } from './option-service.ts';
import {
  badOptions,
  type FlagTable,
  type OptionSources,
  readSettings,
  type Settings,
} from './option-settings.ts';
import { type TlsOptions, tlsOptions } from './option-tls.ts';
import { corsOrigins, LOG_LEVELS, type LogLevel, refusePlain } from './options.ts';

/** Everything that decides how one gateway runs; complete, validated, defaults filled in. */
export interface GatewayOptions {
  /** Members of the cluster: `host:port` or URLs. At least one. */
  readonly endpoints: readonly string[];
  /** How the cluster is connected to; null = in plain text where an endpoint has no scheme. */
  readonly clusterTls: ClusterTls | null;
  /** Who the gateway is for the cluster; null = nobody. */
  readonly login: { readonly user: string; readonly password: string } | null;
  /** What one transaction may hold there. */
  readonly txnOpsMax: number;
  readonly requestBytesMax: number;
  readonly listenHttpUrls: readonly string[];
  /** Where gRPC is served; may be empty. */
  readonly listenClientUrls: readonly string[];
  /** Where flagd's clients are served besides; may be empty. */
  readonly listenFlagdUrls: readonly string[];
  /** Whose web pages may evaluate flags; `*` for all. */
  readonly corsOrigins: readonly string[];
  readonly tls: TlsOptions | null;
  readonly maxConcurrentStreams: number;
  readonly service: ServiceSettings;
  readonly logLevel: LogLevel;
}

/** Files in PEM. */
export interface ClusterTls {
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  readonly skipVerify: boolean;
}

/** Those of a member that mean the same here. */
const SHARED = [
  'tenant',
  'default-environment',
  'secret-key-file',
  'version-retention',
  'require-identity',
  'cors',
  'listen-flagd-urls',
  'cert-file',
  'key-file',
  'trusted-ca-file',
  'client-cert-auth',
  'client-crl-file',
  'client-cert-allowed-hostname',
  'cipher-suites',
  'tls-min-version',
  'tls-max-version',
  'allow-insecure-transport',
  'max-request-bytes',
  'max-txn-ops',
  'max-concurrent-streams',
  'log-level',
  'config-file',
];

const OWN: readonly ServerFlag[] = [
  {
    name: 'endpoints',
    kind: 'text',
    default: 'localhost:2379',
    group: 'Cluster',
    help: 'members of the cluster, comma-separated',
  },
  {
    name: 'user',
    kind: 'text',
    default: '',
    group: 'Cluster',
    help: 'who the gateway is for the cluster, where authentication is enabled: name[:password]',
  },
  { name: 'password', kind: 'text', default: '', group: 'Cluster', help: 'the password of that user' },
  {
    name: 'cacert',
    kind: 'text',
    default: '',
    group: 'Cluster',
    help: 'authorities that members are verified by, PEM',
  },
  {
    name: 'cert',
    kind: 'text',
    default: '',
    group: 'Cluster',
    help: 'certificate to present to members, PEM',
  },
  { name: 'key', kind: 'text', default: '', group: 'Cluster', help: 'its key' },
  {
    name: 'insecure-skip-tls-verify',
    kind: 'boolean',
    default: 'false',
    group: 'Cluster',
    help: 'encrypt, but accept whoever answers',
  },
  {
    name: 'listen-http-urls',
    kind: 'urls',
    default: 'http://localhost:8080',
    group: 'Operations',
    help: 'where the configuration service, health and metrics are served over HTTP, comma-separated',
  },
  {
    name: 'listen-client-urls',
    kind: 'urls',
    default: '',
    group: 'Operations',
    help: 'where gRPC is served, comma-separated (default: nowhere)',
  },
];

/** Every option of `conclave gateway`, in the order a person should read them. */
export const GATEWAY_FLAGS: readonly ServerFlag[] = [
  ...OWN,
  ...SHARED.map((name) => SERVER_FLAGS.find((flag) => flag.name === name)!),
];

const TABLE: FlagTable = {
  command: 'gateway',
  flags: GATEWAY_FLAGS,
  fixed: new Map(),
  unsupported: new Map(),
  unsupportedPrefix: 'experimental-',
  otherVariables: new Set(['CONCLAVE_TIMEOUT', 'CONCLAVE_INSECURE_TRANSPORT', ...SERVICE_CLIENT_VARIABLES]),
};

const BOUNDS = {
  requestBytes: { min: 1024, max: 10 * 1024 * 1024 },
  txnOps: { min: 1, max: 65_536 },
  streams: { min: 1, max: 2 ** 32 - 1 },
} as const;

/**
 * The options of `conclave gateway`, from the same sources as those of a server.
 *
 * @param argv what follows the word `gateway`
 * @throws StoreError `bad-options` naming the flag, its source and the value
 */
export function parseGatewayOptions(argv: readonly string[], sources: OptionSources): GatewayOptions {
  const settings = readSettings(TABLE, argv, sources);
  const listenHttpUrls = settings.urls('listen-http-urls');
  const listenClientUrls = settings.urls('listen-client-urls');
  const listenFlagdUrls = settings.urls('listen-flagd-urls');
  if (!settings.boolean('allow-insecure-transport')) {
    refusePlain('--listen-http-urls', listenHttpUrls);
    refusePlain('--listen-client-urls', listenClientUrls);
    refusePlain('--listen-flagd-urls', listenFlagdUrls);
  }
  return {
    endpoints: endpointList(settings),
    clusterTls: clusterTls(settings),
    login: login(settings),
    txnOpsMax: settings.integer('max-txn-ops', BOUNDS.txnOps),
    requestBytesMax: settings.integer('max-request-bytes', BOUNDS.requestBytes),
    listenHttpUrls,
    listenClientUrls,
    listenFlagdUrls,
    corsOrigins: corsOrigins(settings),
    tls: tlsOptions('client', settings, [...listenHttpUrls, ...listenClientUrls, ...listenFlagdUrls]),
    maxConcurrentStreams: settings.integer('max-concurrent-streams', BOUNDS.streams),
    service: serviceSettings(settings),
    logLevel: settings.oneOf('log-level', LOG_LEVELS),
  };
}

function endpointList(settings: Settings): readonly string[] {
  const { label, text } = settings.or('endpoints');
  const endpoints = text.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]));
  if (endpoints.length === 0) throw badOptions(`${label}: there is no endpoint in '${text}'`);
  return endpoints;
}

function clusterTls(settings: Settings): ClusterTls | null {
  const file = (name: string): string | null => settings.given(name)?.text ?? null;
  const [caFile, certFile, keyFile] = [file('cacert'), file('cert'), file('key')];
  const skipVerify = settings.boolean('insecure-skip-tls-verify');
  if ((certFile === null) !== (keyFile === null)) throw badOptions('--cert and --key are needed together');
  if (caFile === null && certFile === null && !skipVerify) return null;
  return { caFile, certFile, keyFile, skipVerify };
}

/** With a password of its own the name may hold a colon. */
function login(settings: Settings): GatewayOptions['login'] {
  const user = settings.given('user');
  const password = settings.given('password');
  if (user === null) {
    if (password === null) return null;
    throw badOptions(`${password.label} needs --user: whose password?`);
  }
  if (password !== null) return { user: user.text, password: password.text };
  const colon = user.text.indexOf(':');
  if (colon === -1) throw badOptions(`${user.label}: the password of ${user.text} is missing`);
  return { user: user.text.slice(0, colon), password: user.text.slice(colon + 1) };
}
