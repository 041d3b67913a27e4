/** One option of `conclave server`: the table that parsing, checking and `--help` all read. */
export interface ServerFlag {
  /** Without dashes, as on etcd's command line; also the key in the YAML file. */
  readonly name: string;
  readonly kind: 'text' | 'boolean' | 'integer' | 'urls';
  /** As text, like every source gives it; empty = worked out from other options. */
  readonly default: string;
  readonly help: string;
  readonly group: 'Member' | 'Cluster' | 'Limits' | 'Authentication' | 'Operations';
}

/** Every option there is, in the order a person should read them. */
export const SERVER_FLAGS: readonly ServerFlag[] = [
  {
    name: 'name',
    kind: 'text',
    default: 'default',
    group: 'Member',
    help: 'human-readable name of this member, unique in the cluster',
  },
  {
    name: 'data-dir',
    kind: 'text',
    default: '',
    group: 'Member',
    help: 'directory of the log and the state (default: <name>.conclave)',
  },
  {
    name: 'listen-client-urls',
    kind: 'urls',
    default: 'http://localhost:2379',
    group: 'Member',
    help: 'where clients are served, comma-separated',
  },
  {
    name: 'advertise-client-urls',
    kind: 'urls',
    default: '',
    group: 'Member',
    help: 'client URLs told to the rest of the cluster (default: those listened on)',
  },
  {
    name: 'listen-peer-urls',
    kind: 'urls',
    default: 'http://localhost:2380',
    group: 'Member',
    help: 'where other members are served, comma-separated',
  },
  {
    name: 'heartbeat-interval',
    kind: 'integer',
    default: '100',
    group: 'Member',
    help: 'milliseconds between heartbeats; about one round trip between members',
  },
  {
    name: 'election-timeout',
    kind: 'integer',
    default: '1000',
    group: 'Member',
    help: 'milliseconds without a leader until an election; at least 5 heartbeats',
  },
  {
    name: 'initial-advertise-peer-urls',
    kind: 'urls',
    default: '',
    group: 'Cluster',
    help: 'peer URLs told to the rest of the cluster (default: those listened on)',
  },
  {
    name: 'initial-cluster',
    kind: 'text',
    default: '',
    group: 'Cluster',
    help: 'all members at the first start: n1=http://h1:2380,n2=http://h2:2380,...',
  },
  {
    name: 'initial-cluster-state',
    kind: 'text',
    default: 'new',
    group: 'Cluster',
    help: "'new', or 'existing' for a member added to a running cluster",
  },
  {
    name: 'initial-cluster-token',
    kind: 'text',
    default: 'etcd-cluster',
    group: 'Cluster',
    help: 'keeps clusters apart whose members have equal names and addresses',
  },
  {
    name: 'force-new-cluster',
    kind: 'boolean',
    default: 'false',
    group: 'Cluster',
    help: 'DANGEROUS: make this member alone a new cluster that keeps the data',
  },
  {
    name: 'quota-backend-bytes',
    kind: 'integer',
    default: '0',
    group: 'Limits',
    help: 'size of the data at which writes are refused until space is freed (0: 2 GiB)',
  },
  {
    name: 'auto-compaction-mode',
    kind: 'text',
    default: 'periodic',
    group: 'Limits',
    help: "'periodic' keeps the history of a time, 'revision' a number of revisions",
  },
  {
    name: 'auto-compaction-retention',
    kind: 'text',
    default: '0',
    group: 'Limits',
    help: 'history to keep: hours or a duration (30m), or revisions, by the mode (0: all)',
  },
  {
    name: 'max-request-bytes',
    kind: 'integer',
    default: '1572864',
    group: 'Limits',
    help: 'largest request a client may send',
  },
  {
    name: 'max-txn-ops',
    kind: 'integer',
    default: '128',
    group: 'Limits',
    help: 'most operations in one transaction',
  },
  {
    name: 'snapshot-count',
    kind: 'integer',
    default: '10000',
    group: 'Limits',
    help: 'entries applied between two compactions of the log',
  },
  {
    name: 'snapshot-catchup-entries',
    kind: 'integer',
    default: '5000',
    group: 'Limits',
    help: 'entries kept below a compaction for members that lag',
  },
  {
    name: 'auth-token',
    kind: 'text',
    default: 'simple',
    group: 'Authentication',
    help: "'simple', or jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=10m",
  },
  {
    name: 'auth-token-ttl',
    kind: 'integer',
    default: '300',
    group: 'Authentication',
    help: 'seconds without use after which a simple token is over',
  },
  {
    name: 'bcrypt-cost',
    kind: 'integer',
    default: '10',
    group: 'Authentication',
    help: 'cost of a password hash (scrypt): each step doubles time and memory; 4 to 13',
  },
  {
    name: 'listen-http-urls',
    kind: 'urls',
    default: '',
    group: 'Operations',
    help: 'where /health /livez /readyz /version /metrics are served besides the client URLs',
  },
  {
    name: 'cors',
    kind: 'text',
    default: '',
    group: 'Operations',
    help: 'origins whose web pages may use the JSON gateway, comma-separated, or *',
  },
  {
    name: 'log-level',
    kind: 'text',
    default: 'info',
    group: 'Operations',
    help: 'debug, info, warn or error',
  },
  {
    name: 'config-file',
    kind: 'text',
    default: '',
    group: 'Operations',
    help: "YAML file of 'option: value' lines, named as the flags without dashes",
  },
];

/** Flags of etcd's whose one value here describes what always holds; that value passes, any other is refused. */
export const FIXED_FLAGS: ReadonlyMap<string, { readonly only: string; readonly reason: string }> = new Map([
  ['pre-vote', { only: 'true', reason: 'PreVote is always on' }],
  ['strict-reconfig-check', { only: 'true', reason: 'unsafe membership changes are always refused' }],
  ['enable-v2', { only: 'false', reason: 'the v2 API does not exist here' }],
]);

/** Every flag of etcd's that starts so is unsupported. */
export const EXPERIMENTAL_PREFIX = 'experimental-';

const TLS = 'connections are not encrypted, so do not rely on it';
const V2 = 'the v2 API does not exist here';
const ALWAYS = 'it cannot be changed';

/** etcd's flags that this version does not have, with what to tell who sets one (may be empty). */
export const UNSUPPORTED_FLAGS: ReadonlyMap<string, string> = new Map([
  ...named(TLS, [
    'cert-file',
    'key-file',
    'client-cert-auth',
    'client-crl-file',
    'client-cert-allowed-hostname',
    'client-cert-file',
    'client-key-file',
    'trusted-ca-file',
    'auto-tls',
    'ca-file',
    'peer-ca-file',
    'peer-cert-file',
    'peer-key-file',
    'peer-client-cert-auth',
    'peer-client-cert-file',
    'peer-client-key-file',
    'peer-trusted-ca-file',
    'peer-auto-tls',
    'peer-crl-file',
    'peer-cert-allowed-cn',
    'peer-cert-allowed-hostname',
    'peer-skip-client-san-verification',
    'self-signed-cert-validity',
    'cipher-suites',
    'tls-min-version',
    'tls-max-version',
  ]),
  ...named('list the members in --initial-cluster', [
    'discovery',
    'discovery-dial-timeout',
    'discovery-request-timeout',
    'discovery-keepalive-time',
    'discovery-keepalive-timeout',
    'discovery-insecure-transport',
    'discovery-insecure-skip-tls-verify',
    'discovery-cert',
    'discovery-key',
    'discovery-cacert',
    'discovery-user',
    'discovery-password',
    'discovery-endpoints',
    'discovery-token',
    'discovery-fallback',
    'discovery-proxy',
    'discovery-srv',
    'discovery-srv-name',
  ]),
  ...named(V2, [
    'proxy',
    'proxy-failure-wait',
    'proxy-refresh-interval',
    'proxy-dial-timeout',
    'proxy-write-timeout',
    'proxy-read-timeout',
    'v2-deprecation',
    'listen-client-http-urls',
  ]),
  ...named('use --listen-http-urls', ['listen-metrics-urls']),
  ...named(ALWAYS, [
    'metrics',
    'wal-dir',
    'max-snapshots',
    'max-wals',
    'unsafe-no-fsync',
    'initial-election-tick-advance',
    'backend-batch-interval',
    'backend-batch-limit',
    'backend-bbolt-freelist-type',
    'compaction-batch-limit',
    'compaction-sleep-interval',
    'corrupt-check-time',
    'compact-hash-check-enabled',
    'compact-hash-check-time',
    'grpc-keepalive-min-time',
    'grpc-keepalive-interval',
    'grpc-keepalive-timeout',
    'max-concurrent-streams',
    'max-learners',
    'watch-progress-notify-interval',
    'downgrade-check-time',
    'memory-mlock',
    'bootstrap-defrag-threshold-megabytes',
    'warning-apply-duration',
    'warning-unary-request-duration',
    'peer-dial-timeout',
    'socket-reuse-port',
    'socket-reuse-address',
    'local-address',
    'feature-gates',
    'set-member-localaddr',
  ]),
  ...named('logs are JSON lines on standard output', [
    'logger',
    'log-outputs',
    'log-format',
    'log-package-levels',
    'log-rotation-config-json',
    'enable-log-rotation',
    'debug',
  ]),
  ...named('', [
    'host-whitelist',
    'enable-pprof',
    'enable-grpc-gateway',
    'enable-distributed-tracing',
    'distributed-tracing-address',
    'distributed-tracing-service-name',
    'distributed-tracing-instance-id',
    'distributed-tracing-sampling-rate',
  ]),
]);

function named(hint: string, names: readonly string[]): readonly (readonly [string, string])[] {
  return names.map((name) => [name, hint] as const);
}
