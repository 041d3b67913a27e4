import { isDeepStrictEqual } from 'node:util';
import { StoreError } from '../../src/lib/errors.ts';
import type { OptionSources } from '../../src/option-settings.ts';
import type { TlsOptions } from '../../src/option-tls.ts';
import { parseServerOptions, type ServerOptions } from '../../src/options.ts';
import { CIPHER_SUITES, cipherList, DEFAULT_CIPHERS } from '../../src/tls/ciphers.ts';
import type { Target } from './fuzz.ts';

/** What an operator gives: flags, variables, a configuration file. */

const badOptions = (error: unknown): boolean => error instanceof StoreError && error.code === 'bad-options';

function parse(argv: readonly string[], sources: Partial<OptionSources> = {}): ServerOptions {
  const options = parseServerOptions(argv, {
    env: {},
    readFile: () => {
      throw new Error('no such file');
    },
    ...sources,
  });
  const again = parseServerOptions(flagsOf(options), { env: {}, readFile: () => '' });
  if (!isDeepStrictEqual(again, options))
    throw new Error(`not the same options: ${JSON.stringify([options, again])}`);
  return options;
}

function tlsFlags(side: 'client' | 'peer', tls: TlsOptions | null): Readonly<Record<string, unknown>> {
  if (tls === null) return {};
  const prefix = side === 'client' ? '' : 'peer-';
  const { source } = tls;
  const files =
    source.type === 'generated'
      ? { [`${prefix}auto-tls`]: true, 'self-signed-cert-validity': source.validityYears }
      : {
          [`${prefix}cert-file`]: source.certFile,
          [`${prefix}key-file`]: source.keyFile,
          ...(side === 'peer' && {
            'peer-client-cert-file': source.dialCertFile ?? '',
            'peer-client-key-file': source.dialKeyFile ?? '',
          }),
        };
  return {
    ...files,
    [`${prefix}trusted-ca-file`]: tls.trustedCaFile ?? '',
    [`${side}-crl-file`]: tls.crlFile ?? '',
    [`${prefix}client-cert-auth`]: tls.clientCertAuth,
    [`${side}-cert-allowed-hostname`]: tls.allowedHostnames,
    ...(side === 'peer' && {
      'peer-cert-allowed-cn': tls.allowedCommonNames,
      'peer-skip-client-san-verification': tls.skipClientSanVerification,
    }),
    'cipher-suites': suitesOf(tls.ciphers),
    'tls-min-version': tls.minVersion.replace('v', ''),
    'tls-max-version': tls.maxVersion.replace('v', ''),
  };
}

function suitesOf(ciphers: string): readonly string[] {
  if (ciphers === DEFAULT_CIPHERS) return [];
  const fixed = cipherList([])!.split(':');
  const chosen = ciphers.split(':').slice(fixed.length);
  const names = chosen.map(
    (name) => CIPHER_SUITES.find((suite) => cipherList([suite])!.endsWith(`:${name}`))!,
  );
  return names.length === 0 ? fixed.slice(0, 1) : names;
}

/** Flags that say all of it. */
function flagsOf(options: ServerOptions): string[] {
  const members = options.initialCluster.flatMap(({ name, peerUrls }) =>
    peerUrls.map((url) => `${name}=${url}`),
  );
  const settings: Readonly<Record<string, unknown>> = {
    name: options.name,
    'data-dir': options.dataDir,
    'listen-client-urls': options.listenClientUrls,
    'advertise-client-urls': options.advertiseClientUrls,
    'listen-peer-urls': options.listenPeerUrls,
    'initial-advertise-peer-urls': options.initialAdvertisePeerUrls,
    'listen-http-urls': options.listenHttpUrls,
    'initial-cluster': members,
    'initial-cluster-state': options.initialClusterState,
    'initial-cluster-token': options.initialClusterToken,
    'force-new-cluster': options.forceNewCluster,
    'heartbeat-interval': options.heartbeatIntervalMs,
    'freshness-interval': options.freshnessIntervalMs,
    'learner-linearizable-reads': options.learnerLinearizableReads,
    'election-timeout': options.electionTimeoutMs,
    'snapshot-count': options.snapshotCount,
    'snapshot-catchup-entries': options.snapshotCatchUpEntries,
    'quota-backend-bytes': options.quotaBackendBytes,
    'max-request-bytes': options.maxRequestBytes,
    'max-txn-ops': options.maxTxnOps,
    'max-concurrent-streams': options.maxConcurrentStreams,
    'allow-insecure-transport': options.allowInsecureTransport,
    ...tlsFlags('client', options.clientTls),
    ...tlsFlags('peer', options.peerTls),
    'log-level': options.logLevel,
  };
  return Object.entries(settings).map(([name, value]) => `--${name}=${String(value)}`);
}

const CLUSTER = 'n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n1=http://[::1]:80';
const SETTINGS: readonly (readonly [name: string, value: string])[] = [
  ['name', 'n1'],
  ['data-dir', '/var/lib/conclave'],
  ['allow-insecure-transport', 'true'],
  ['cert-file', 'c.pem'],
  ['key-file', 'k.pem'],
  ['trusted-ca-file', 'ca.pem'],
  ['client-crl-file', 'crl.pem'],
  ['cipher-suites', 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'],
  ['peer-auto-tls', 'true'],
  ['listen-client-urls', 'http://0.0.0.0:2379, http://[::1]:2379'],
  ['advertise-client-urls', 'http://10.0.0.1:2379'],
  ['initial-advertise-peer-urls', 'http://10.0.0.1:2380,http://[::1]:80'],
  ['initial-cluster', CLUSTER],
  ['initial-cluster-state', 'existing'],
  ['heartbeat-interval', '20'],
  ['election-timeout', '500'],
  ['quota-backend-bytes', '0'],
  ['max-txn-ops', '64'],
  ['force-new-cluster', 'true'],
  ['log-level', 'debug'],
];
const FEW = SETTINGS.slice(SETTINGS.findIndex(([name]) => name === 'heartbeat-interval'));

const flags: Target<ServerOptions> = {
  name: 'flags',
  seeds: [SETTINGS, FEW].flatMap((settings) => [
    Buffer.from(settings.map(([name, value]) => `--${name}=${value}`).join('\0')),
    Buffer.from(
      settings
        // A boolean flag takes no word.
        .flatMap(([name, value]) => (value === 'true' ? [`-${name}`] : [`-${name}`, value]))
        .join('\0'),
    ),
  ]),
  decode: (bytes) => parse(bytes.toString().split('\0')),
  allows: badOptions,
  encode: (options) => Buffer.from(flagsOf(options).join('\0')),
};

const SERVICE_LINKS =
  'CONCLAVE_PORT_2379_TCP_ADDR=10.0.0.9\nCONCLAVE_SERVICE_HOST=x\nCONCLAVE_ENDPOINTS=http://a:1\nPATH=/bin';

const environment: Target<ServerOptions> = {
  name: 'environment',
  seeds: [SETTINGS, FEW].map((settings) => {
    const lines = settings.map(
      ([name, value]) => `CONCLAVE_${name.toUpperCase().replaceAll('-', '_')}=${value}`,
    );
    return Buffer.from([...lines, SERVICE_LINKS].join('\n'));
  }),
  decode: (bytes) => parse([], { env: variablesIn(bytes.toString()) }),
  allows: badOptions,
};

function variablesIn(text: string): Record<string, string> {
  const variables = text.split('\n').map((line) => {
    const end = line.indexOf('=');
    return end < 0 ? [line, ''] : [line.slice(0, end), line.slice(end + 1)];
  });
  return Object.fromEntries(variables) as Record<string, string>;
}

const FILES = [
  SETTINGS.map(([name, value]) => `${name}: "${value}"`).join('\n'),
  FEW.map(([name, value]) => `${name}: ${value}`).join('\n'),
  '{"name": "n1", "allow-insecure-transport": true, "listen-http-urls": ["http://a:1", "http://b:2"]}',
  '# a comment\nname: &n n2\ninitial-cluster-token: *n\nlog-level: >-\n  warn\ndata-dir: !!str 5\n',
  '? [a, b]\n: {c: !!binary aGk=, d: 2001-01-01}\n',
  `${'['.repeat(60)}${']'.repeat(60)}`,
  'a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n',
];

const file: Target<ServerOptions> = {
  name: 'configuration file',
  seeds: FILES.slice(0, 4).map((text) => Buffer.from(text)),
  decode: (bytes) => parse(['--config-file=conclave.yaml'], { readFile: () => bytes.toString() }),
  allows: badOptions,
  share: 0.4,
};

/** Files that are YAML and no options. */
const strangeFile: Target<ServerOptions | null> = {
  name: 'strange configuration file',
  seeds: FILES.map((text) => Buffer.from(text)),
  decode(bytes) {
    try {
      return parse(['--config-file=conclave.yaml'], { readFile: () => bytes.toString() });
    } catch (error) {
      if (badOptions(error)) return null;
      throw error;
    }
  },
  allows: () => false,
  share: 0.4,
};

export const OPTION_TARGETS: readonly Target<unknown>[] = [
  flags,
  environment,
  file,
  strangeFile,
] as readonly Target<unknown>[];
