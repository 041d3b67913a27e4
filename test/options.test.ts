import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StoreError } from '../src/lib/errors.ts';
import { REGION_LENGTH_MAX } from '../src/lib/region.ts';
import { SERVER_FLAGS, UNSUPPORTED_FLAGS } from '../src/option-flags.ts';
import { GATEWAY_FLAGS, parseGatewayOptions } from '../src/option-gateway.ts';
import { LEADER_REGIONS_MAX, parseInitialCluster, parseServerOptions, parseUrlList } from '../src/options.ts';
import { keptForDays, RETENTION_DEFAULT } from '../src/service/sweepers/retention.ts';

interface Sources {
  readonly argv?: readonly string[];
  readonly env?: Record<string, string>;
  readonly files?: Record<string, string>;
}

function parse({ argv = [], env = {}, files = {} }: Sources) {
  return parseServerOptions(argv, {
    env,
    readFile: (path) => {
      const text = files[path];
      if (text === undefined) throw new Error('ENOENT: no such file or directory');
      return text;
    },
  });
}

function refusal(sources: Sources): string {
  try {
    parse(sources);
  } catch (error) {
    expect(error).toBeInstanceOf(StoreError);
    expect((error as StoreError).code).toBe('bad-options');
    return (error as StoreError).message;
  }
  throw new Error('these options were accepted');
}

test('without any option the defaults are those of etcd', () => {
  expect(parse({})).toEqual({
    name: 'default',
    dataDir: 'default.conclave',
    listenClientUrls: ['http://localhost:2379'],
    advertiseClientUrls: ['http://localhost:2379'],
    listenPeerUrls: ['http://localhost:2380'],
    initialAdvertisePeerUrls: ['http://localhost:2380'],
    listenHttpUrls: [],
    listenFlagdUrls: [],
    clientTls: null,
    peerTls: null,
    allowInsecureTransport: false,
    initialCluster: [{ name: 'default', peerUrls: ['http://localhost:2380'] }],
    initialClusterState: 'new',
    initialClusterToken: 'etcd-cluster',
    forceNewCluster: false,
    region: null,
    leaderRegions: [],
    heartbeatIntervalMs: 100,
    freshnessIntervalMs: 100,
    learnerLinearizableReads: false,
    electionTimeoutMs: 1000,
    snapshotCount: 10_000,
    snapshotCatchUpEntries: 5000,
    quotaBackendBytes: 2 ** 31,
    autoCompaction: null,
    corsOrigins: [],
    maxRequestBytes: 1_572_864,
    maxTxnOps: 128,
    maxConcurrentStreams: 2000,
    authToken: { type: 'simple' },
    authTokenTtlMs: 300_000,
    passwordCost: 10,
    service: {
      tenant: 'default',
      environment: 'development',
      secretKeyFile: null,
      retention: RETENTION_DEFAULT,
      requireIdentity: false,
    },
    logLevel: 'info',
  });
});

test('regions are names that fit anywhere, and leaders are wanted in each only once', () => {
  const options = parse({ argv: ['--region', 'eu-1'], env: { CONCLAVE_LEADER_REGIONS: 'eu-1, us_2.b' } });
  expect(options).toMatchObject({ region: 'eu-1', leaderRegions: ['eu-1', 'us_2.b'] });
  expect(
    parse({ files: { f: 'region: a\nleader-regions: [a, b]' }, argv: ['--config-file=f'] }),
  ).toMatchObject({
    region: 'a',
    leaderRegions: ['a', 'b'],
  });
  expect(parse({ argv: ['--region', 'x'.repeat(REGION_LENGTH_MAX)] }).region).toHaveLength(64);
  expect(refusal({ argv: ['--region', 'x'.repeat(REGION_LENGTH_MAX + 1)] })).toContain('--region');
  expect(refusal({ argv: ['--region', 'eu 1'] })).toContain("'eu 1' is no region");
  expect(refusal({ argv: ['--leader-regions', 'a,,b'] })).toContain("'' is no region");
  expect(refusal({ argv: ['--leader-regions', 'a,b,a'] })).toContain('named twice');
  const many = Array.from({ length: LEADER_REGIONS_MAX + 1 }, (_, i) => `r${i}`).join();
  expect(refusal({ argv: ['--leader-regions', many] })).toContain('more than 16');
});

test('a flag is given as --name value, --name=value or with one dash', () => {
  for (const argv of [['--name', 'n1'], ['--name=n1'], ['-name', 'n1'], ['-name=n1']]) {
    expect(parse({ argv }).name).toBe('n1');
  }
});

test('a boolean flag takes no further word', () => {
  const options = parse({ argv: ['--force-new-cluster', '--name', 'n1'] });
  expect(options).toMatchObject({ forceNewCluster: true, name: 'n1' });
  expect(parse({ argv: ['--force-new-cluster=false'] }).forceNewCluster).toBe(false);
  expect(refusal({ argv: ['--force-new-cluster', 'true'] })).toContain("'true' is not a flag");
  expect(refusal({ argv: ['--force-new-cluster=maybe'] })).toContain("'maybe' is neither true nor false");
});

test('flags win over the environment, and the environment over the file', () => {
  const files = { 'c.yaml': 'name: from-file\nsnapshot-count: 30\nmax-txn-ops: 300\nlog-level: warn\n' };
  const env = { CONCLAVE_NAME: 'from-env', CONCLAVE_SNAPSHOT_COUNT: '20' };
  const options = parse({ argv: ['--config-file', 'c.yaml', '--name', 'from-flag'], env, files });
  expect(options).toMatchObject({ name: 'from-flag', snapshotCount: 20, maxTxnOps: 300, logLevel: 'warn' });
});

test('the file can be named by the environment, and holds lists as lists or with commas', () => {
  const yaml =
    'name: n1\nlisten-client-urls: [http://localhost:1, http://localhost:2]\nforce-new-cluster: true\n';
  const options = parse({ env: { CONCLAVE_CONFIG_FILE: 'x' }, files: { x: yaml } });
  expect(options.listenClientUrls).toEqual(['http://localhost:1', 'http://localhost:2']);
  expect(options.forceNewCluster).toBe(true);
  expect(parse({ argv: ['--config-file=x'], files: { x: '' } }).name).toBe('default');
});

test('every source refuses unknown names and says where they stand', () => {
  expect(refusal({ argv: ['--nmae', 'n1'] })).toContain('unknown option --nmae');
  expect(refusal({ env: { CONCLAVE_NMAE: 'n1' } })).toContain('unknown option CONCLAVE_NMAE');
  expect(refusal({ argv: ['--config-file', 'c'], files: { c: 'nmae: n1' } })).toContain(
    "unknown option 'nmae' in c",
  );
  expect(refusal({ argv: ['n1'] })).toContain("'n1' is not a flag");
});

test('every etcd flag that is not built is refused from every source', () => {
  for (const name of [...UNSUPPORTED_FLAGS.keys(), 'experimental-anything']) {
    const variable = `CONCLAVE_${name.toUpperCase().replaceAll('-', '_')}`;
    expect(refusal({ argv: [`--${name}=x`] })).toContain(`--${name} is not supported by this version`);
    expect(refusal({ argv: [`--${name}`] })).toContain('is not supported by this version');
    expect(refusal({ env: { [variable]: 'x' } })).toContain(`${variable} is not supported by this version`);
    expect(refusal({ argv: ['--config-file=c'], files: { c: `${name}: x` } })).toContain('is not supported');
  }
});

test('no flag is both built and refused', () => {
  expect(SERVER_FLAGS.filter((flag) => UNSUPPORTED_FLAGS.has(flag.name))).toEqual([]);
});

test('a flag that names what always holds passes, its opposite does not', () => {
  expect(parse({ argv: ['--pre-vote', '--strict-reconfig-check=true', '--name=n1'] }).name).toBe('n1');
  expect(refusal({ argv: ['--pre-vote=false'] })).toContain('PreVote is always on');
});

test('variables of a container platform and of the client commands are none of the options', () => {
  const env = {
    CONCLAVE_SERVICE_HOST: '10.0.0.1',
    CONCLAVE_SERVICE_PORT_CLIENT: '2379',
    CONCLAVE_PORT: 'tcp://10.0.0.1:2379',
    CONCLAVE_CLIENT_PORT_2379_TCP_ADDR: '10.0.0.1',
    CONCLAVE_ENDPOINTS: 'localhost:2379',
    UNRELATED: 'x',
  };
  expect(parse({ env }).name).toBe('default');
});

test('https needs a certificate, wherever the URL stands; other schemes are refused', () => {
  for (const flag of ['listen-client-urls', 'listen-http-urls']) {
    expect(refusal({ argv: [`--${flag}=https://localhost:2379`] })).toContain(
      'https://localhost:2379 needs --cert-file and --key-file, or --auto-tls',
    );
  }
  const peers = 'https://localhost:2380 needs --peer-cert-file and --peer-key-file, or --peer-auto-tls';
  expect(refusal({ argv: ['--listen-peer-urls=https://localhost:2380'] })).toContain(peers);
  expect(refusal({ argv: ['--initial-advertise-peer-urls=https://localhost:2380'] })).toContain(peers);
  expect(refusal({ argv: ['--listen-client-urls=unix://x:1'] })).toContain('unix:// is not supported');
});

test('plain text leaves this machine only when that is asked for', () => {
  const cases = [
    ['--listen-client-urls=http://10.0.0.1:2379'],
    ['--listen-peer-urls=http://10.0.0.1:2380'],
    ['--listen-http-urls=http://[2001:db8::1]:8080'],
    ['--initial-cluster=default=http://localhost:2380,n2=http://h2:2380'],
  ];
  for (const argv of cases) {
    expect(refusal({ argv })).toContain('would leave this machine unencrypted');
    expect(parse({ argv: [...argv, '--allow-insecure-transport'] }).allowInsecureTransport).toBe(true);
  }
  const loopback = 'http://localhost:1,http://127.0.0.1:2,http://127.8.9.1:3,http://[::1]:4';
  expect(parse({ argv: [`--listen-client-urls=${loopback}`] }).listenClientUrls).toHaveLength(4);
  const mixed = ['--listen-client-urls=http://localhost:1,https://10.0.0.1:2', '--auto-tls'];
  expect(parse({ argv: mixed }).clientTls).toMatchObject({ source: { type: 'generated', validityYears: 1 } });
});

test('TLS options are taken together or refused with what is missing', () => {
  const client = ['--cert-file=c', '--key-file=k'];
  const peer = ['--peer-cert-file=pc', '--peer-key-file=pk'];
  const refusals: [readonly string[], string][] = [
    [['--cert-file=c'], '--cert-file and --key-file are needed together'],
    [['--peer-key-file=k'], '--peer-cert-file and --peer-key-file are needed together'],
    [['--client-cert-auth'], '--client-cert-auth needs --cert-file'],
    [[...client, '--client-cert-auth'], '--client-cert-auth needs --trusted-ca-file'],
    [['--peer-trusted-ca-file=ca'], '--peer-trusted-ca-file needs --peer-cert-file'],
    [[...client, '--client-crl-file=l'], 'need --trusted-ca-file'],
    [[...peer, '--peer-cert-allowed-cn=a'], 'need --peer-trusted-ca-file'],
    [
      ['--peer-client-cert-file=a', '--peer-client-key-file=b'],
      '--peer-client-cert-file needs --peer-cert-file',
    ],
    [
      [...peer, '--peer-trusted-ca-file=ca', '--peer-cert-allowed-cn=a', '--peer-cert-allowed-hostname=b'],
      'exclude each other',
    ],
    [[...client, '--cipher-suites=TLS_RSA_WITH_RC4_128_SHA'], 'names a suite that is none of TLS_ECDHE'],
    [[...client, '--cipher-suites=X', '--tls-min-version=TLS1.3'], 'the suites of TLS 1.3 cannot be chosen'],
    [[...client, '--tls-min-version=TLS1.1'], "'TLS1.1' is none of TLS1.2, TLS1.3"],
    [[...client, '--tls-min-version=TLS1.3', '--tls-max-version=TLS1.2'], 'is later than'],
    [['--auto-tls', '--self-signed-cert-validity=0'], 'outside 1 to 100'],
  ];
  for (const [argv, text] of refusals) expect(refusal({ argv })).toContain(text);
  const suites = 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256';
  const { clientTls, peerTls } = parse({
    argv: [
      ...client,
      '--auto-tls',
      '--trusted-ca-file=ca',
      '--client-crl-file=crl',
      `--cipher-suites=${suites}`,
      ...peer,
      '--peer-client-cert-file=dc',
      '--peer-client-key-file=dk',
      '--peer-trusted-ca-file=pca',
      '--peer-cert-allowed-cn=a, b',
    ],
  });
  expect(clientTls).toMatchObject({
    source: { type: 'files', certFile: 'c', keyFile: 'k', dialCertFile: null },
    trustedCaFile: 'ca',
    crlFile: 'crl',
    clientCertAuth: false,
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
  });
  expect(clientTls!.ciphers).toMatch(/:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305$/);
  expect(peerTls).toMatchObject({
    source: { certFile: 'pc', dialCertFile: 'dc', dialKeyFile: 'dk' },
    allowedCommonNames: ['a', 'b'],
    skipClientSanVerification: false,
  });
});

test('malformed URLs are named', () => {
  const cases: Record<string, string> = {
    'localhost:2379': 'is not of the form',
    'http://localhost': 'has no port',
    'http://localhost:99999': 'is not of the form',
    'http://localhost:1/path': 'nothing but scheme, host and port',
    'http://u:p@localhost:1': 'nothing but scheme, host and port',
    'http://a:1,http://a:1': 'is given twice',
  };
  for (const [url, text] of Object.entries(cases)) {
    const message = refusal({ argv: [`--listen-client-urls=${url}`] });
    expect(message).toContain('--listen-client-urls');
    expect(message).toContain(text);
  }
});

test('URLs keep their port, port 80 and IPv6 included', () => {
  expect(parseUrlList('http://h:80, http://[::1]:2379/', '--x')).toEqual([
    'http://h:80',
    'http://[::1]:2379',
  ]);
});

test('a wildcard address must be accompanied by one to advertise', () => {
  expect(refusal({ argv: ['--listen-client-urls=http://0.0.0.0:2379'] })).toContain(
    '--advertise-client-urls is needed',
  );
  expect(refusal({ argv: ['--listen-peer-urls=http://[::]:2380'] })).toContain(
    '--initial-advertise-peer-urls is needed',
  );
  const argv = ['--listen-client-urls=http://0.0.0.0:2379', '--advertise-client-urls=http://h1:2379'];
  argv.push('--allow-insecure-transport');
  expect(parse({ argv }).advertiseClientUrls).toEqual(['http://h1:2379']);
  expect(refusal({ argv: ['--advertise-client-urls=http://0.0.0.0:2379'] })).toContain(
    'no address that others can',
  );
});

test('the election timeout is at least five heartbeats', () => {
  expect(refusal({ argv: ['--heartbeat-interval=250', '--election-timeout=1249'] })).toContain(
    '--election-timeout: 1249 ms is less than 5 times --heartbeat-interval (250 ms)',
  );
  expect(parse({ argv: ['--heartbeat-interval=250', '--election-timeout=1250'] }).electionTimeoutMs).toBe(
    1250,
  );
});

test('numbers are whole and within bounds', () => {
  expect(refusal({ argv: ['--max-txn-ops=many'] })).toContain("--max-txn-ops: 'many' is not a whole number");
  expect(refusal({ argv: ['--max-txn-ops=1.5'] })).toContain('is not a whole number');
  expect(refusal({ argv: ['--max-txn-ops=0'] })).toContain('--max-txn-ops: 0 is outside 1 to 65536');
  expect(refusal({ argv: ['--quota-backend-bytes=-1'] })).toContain('is outside 0');
  expect(parse({ argv: ['--quota-backend-bytes=1000'] }).quotaBackendBytes).toBe(1000);
});

test('the initial cluster lists every member with its URLs', () => {
  const text = 'n1=http://h1:1,n2=http://h2:1,n1=http://h1:2';
  expect(parseInitialCluster(text, '--initial-cluster')).toEqual([
    { name: 'n1', peerUrls: ['http://h1:1', 'http://h1:2'] },
    { name: 'n2', peerUrls: ['http://h2:1'] },
  ]);
  expect(() => parseInitialCluster('n1', '--initial-cluster')).toThrow(
    "'n1' is not of the form name=http://host:port",
  );
  expect(() => parseInitialCluster('a=http://h:1,b=http://h:1', '-')).toThrow(
    'http://h:1 is given for a and for b',
  );
});

test('the initial cluster contains this member under the address it advertises', () => {
  const cluster = '--initial-cluster=n1=http://h1:2380,n2=http://h2:2380';
  expect(refusal({ argv: ['--name=n3', cluster] })).toContain('does not name this member (--name n3)');
  expect(refusal({ argv: ['--name=n1', cluster] })).toContain(
    'n1 has http://h1:2380, but --initial-advertise-peer',
  );
  const argv = ['--name=n2', cluster, '--initial-advertise-peer-urls=http://h2:2380'];
  argv.push('--allow-insecure-transport');
  expect(parse({ argv }).initialCluster.map((member) => member.name)).toEqual(['n1', 'n2']);
});

test('other wrong values are named with their flag', () => {
  expect(refusal({ argv: ['--initial-cluster-state=old'] })).toContain("'old' is none of new, existing");
  expect(refusal({ argv: ['--log-level=loud'] })).toContain(
    "--log-level: 'loud' is none of debug, info, warn, error",
  );
  expect(refusal({ argv: ['--name=a b'] })).toContain("'a b' is not a member name");
  expect(refusal({ argv: ['--name'] })).toContain('--name needs a value');
  expect(refusal({ argv: ['--name=a', '--name=b'] })).toContain('--name is given twice');
  expect(refusal({ env: { CONCLAVE_MAX_TXN_OPS: 'x' } })).toContain("CONCLAVE_MAX_TXN_OPS: 'x'");
});

test('a file that is missing, is not YAML or holds no options is refused', () => {
  expect(refusal({ argv: ['--config-file=none'] })).toContain('cannot read none: ENOENT');
  expect(refusal({ argv: ['--config-file=c'], files: { c: 'a: [' } })).toContain('c is not YAML');
  expect(refusal({ argv: ['--config-file=c'], files: { c: '- a' } })).toContain(
    "must hold 'option: value' lines",
  );
  expect(refusal({ argv: ['--config-file=c'], files: { c: 'name: {a: b}' } })).toContain(
    "'name' in c must be a text",
  );
  for (const strange of ['name: !!strr n1', 'name: !conclave n1', '? [name]\n: n1']) {
    expect(refusal({ argv: ['--config-file=c'], files: { c: strange } })).toContain('c is not YAML');
  }
  expect(refusal({ argv: ['--config-file=c'], files: { c: 'config-file: d' } })).toContain(
    'cannot name another file',
  );
});

test('whatever stands on the command line, the answer is options or a bad-options error', () => {
  const word = fc.oneof(
    fc.constantFrom(...SERVER_FLAGS.map((flag) => `--${flag.name}`)),
    fc.constantFrom('http://a:1', 'n1', '5', 'true', '--', '-', ''),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
      try {
        parse({ argv });
      } catch (error) {
        expect((error as StoreError).code).toBe('bad-options');
      }
    }),
    { numRuns: 300 },
  );
});

test('automatic compaction is read as etcd reads it', () => {
  const policy = (...argv: string[]) => parse({ argv }).autoCompaction;
  const retention = (text: string) => policy(`--auto-compaction-retention=${text}`);
  expect(retention('0')).toBeNull();
  expect(retention('0h')).toBeNull();
  expect(retention('1')).toEqual({ mode: 'periodic', periodMs: 3_600_000 });
  expect(retention('1h30m')).toEqual({ mode: 'periodic', periodMs: 5_400_000 });
  const byRevision = ['--auto-compaction-mode=revision', '--auto-compaction-retention=1000'];
  expect(policy(...byRevision)).toEqual({ mode: 'revision', revisions: 1000 });
  expect(policy('--auto-compaction-mode=revision')).toBeNull();
});

test('automatic compaction that makes no sense is refused', () => {
  const refused = (...argv: string[]) => refusal({ argv });
  expect(refused('--auto-compaction-retention=soon')).toContain('neither a number of hours nor a duration');
  expect(refused('--auto-compaction-retention=-1')).toContain('neither a number of hours nor a duration');
  expect(refused('--auto-compaction-retention=1ms')).toContain('is outside 1s to');
  expect(refused('--auto-compaction-mode=daily')).toContain('none of periodic, revision');
  expect(refused('--auto-compaction-mode=revision', '--auto-compaction-retention=5m')).toContain(
    'is not a number of revisions',
  );
});

test('origins of web pages are listed, or all', () => {
  const origins = (text: string) => parse({ argv: [`--cors=${text}`] }).corsOrigins;
  expect(origins('*')).toEqual(['*']);
  expect(origins('https://a.example, http://b:8080')).toEqual(['https://a.example', 'http://b:8080']);
  expect(refusal({ argv: ['--cors=a.example'] })).toContain('is no origin');
});

test('tokens are simple or signed, with what signing needs', () => {
  const jwt = 'jwt,pub-key=/p.pem,priv-key=/k.pem,sign-method=RS256,ttl=1h30m';
  expect(parse({ argv: ['--auth-token', jwt, '--auth-token-ttl=60', '--bcrypt-cost=4'] })).toMatchObject({
    authToken: {
      type: 'jwt',
      method: 'RS256',
      publicKeyFile: '/p.pem',
      privateKeyFile: '/k.pem',
      ttlMs: 5_400_000,
    },
    authTokenTtlMs: 60_000,
    passwordCost: 4,
  });
  expect(parse({ env: { CONCLAVE_AUTH_TOKEN: 'jwt,sign-method=HS256,priv-key=k' } }).authToken).toEqual({
    type: 'jwt',
    method: 'HS256',
    publicKeyFile: null,
    privateKeyFile: 'k',
    ttlMs: 300_000,
  });
  const refusals: readonly [string, RegExp][] = [
    ['--auth-token=opaque', /--auth-token: 'opaque' is neither 'simple' nor 'jwt/],
    ['--auth-token=simple,ttl=1m', /is neither/],
    ['--auth-token=jwt', /jwt needs sign-method/],
    ['--auth-token=jwt,sign-method', /'sign-method' is none of pub-key, priv-key, sign-method, ttl/],
    ['--auth-token=jwt,sign-method=RS256,ttl=1m,ttl=2m', /ttl is given twice/],
    ['--auth-token=jwt,sign-method=RS256,ttl=soon', /ttl 'soon' is not a duration/],
    ['--auth-token=jwt,sign-method=RS256,ttl=0s', /ttl '0s' is not a duration/],
    ['--auth-token=jwt,sign-method=RS256,secret=x', /'secret=x' is none of/],
    ['--auth-token-ttl=0', /--auth-token-ttl: 0 is outside 1 to/],
    ['--bcrypt-cost=31', /--bcrypt-cost: 31 is outside 4 to 13/],
  ];
  for (const [flag, text] of refusals) expect(refusal({ argv: [flag] })).toMatch(text);
});

describe('the configuration service', () => {
  test('its options come from flags, variables and files alike', () => {
    const file = 'tenant: acme\nrequire-identity: true';
    const options = parse({
      argv: ['--config-file=c', '--default-environment=PROD', '--version-retention=90'],
      env: { CONCLAVE_SECRET_KEY_FILE: '/keys' },
      files: { c: file },
    });
    expect(options.service).toEqual({
      tenant: 'acme',
      environment: 'production',
      secretKeyFile: '/keys',
      retention: keptForDays(90),
      requireIdentity: true,
    });
  });

  test('versions are kept for days, or for ever', () => {
    const kept = (text: string) => parse({ argv: [`--version-retention=${text}`] }).service.retention;
    expect([kept('1'), kept('36500'), kept('forever')]).toEqual([1, 36_500, null].map(keptForDays));
    for (const text of ['0', '36501']) {
      expect(refusal({ argv: [`--version-retention=${text}`] })).toContain('is outside 1 to 36500');
    }
    for (const text of ['12mo', '-1', '1.5', 'Forever']) {
      expect(refusal({ argv: [`--version-retention=${text}`] })).toContain(
        'neither a number of days nor forever',
      );
    }
  });

  test('a tenant or an environment that cannot be is refused', () => {
    expect(refusal({ argv: ['--tenant=a/b'] })).toContain('--tenant: tenant: must be letters');
    expect(refusal({ env: { CONCLAVE_DEFAULT_ENVIRONMENT: 'a b' } })).toContain(
      'CONCLAVE_DEFAULT_ENVIRONMENT: environment: must be letters',
    );
    expect(refusal({ argv: ['--require-identity=maybe'] })).toContain("'maybe' is neither true nor false");
  });
});

describe('a gateway', () => {
  const gateway = (argv: readonly string[], env: Record<string, string> = {}) =>
    parseGatewayOptions(argv, { env, readFile: () => '' });
  const refused = (argv: readonly string[], env: Record<string, string> = {}): string => {
    try {
      gateway(argv, env);
    } catch (error) {
      expect((error as StoreError).code).toBe('bad-options');
      return (error as StoreError).message;
    }
    return expect.fail('it was not refused');
  };

  test('without any option it serves HTTP here, before a cluster here', () => {
    expect(gateway([])).toEqual({
      endpoints: ['localhost:2379'],
      clusterTls: null,
      login: null,
      txnOpsMax: 128,
      requestBytesMax: 1_572_864,
      listenHttpUrls: ['http://localhost:8080'],
      listenClientUrls: [],
      listenFlagdUrls: [],
      corsOrigins: [],
      tls: null,
      maxConcurrentStreams: 2_000,
      service: {
        tenant: 'default',
        environment: 'development',
        secretKeyFile: null,
        retention: RETENTION_DEFAULT,
        requireIdentity: false,
      },
      logLevel: 'info',
    });
  });

  test('flags are served to web pages and at addresses of their own where it is said', () => {
    const options = gateway(['--cors=https://shop.example', '--listen-flagd-urls=http://localhost:8013']);
    expect(options).toMatchObject({
      corsOrigins: ['https://shop.example'],
      listenFlagdUrls: ['http://localhost:8013'],
    });
    expect(() => gateway(['--listen-flagd-urls=http://0.0.0.0:8013'])).toThrow('--listen-flagd-urls');
  });

  test('it takes what the client commands take from the environment', () => {
    const env = { CONCLAVE_ENDPOINTS: 'a:1, b:2,', CONCLAVE_USER: 'root:p:w', CONCLAVE_CACERT: 'ca.pem' };
    expect(gateway([], env)).toMatchObject({
      endpoints: ['a:1', 'b:2'],
      login: { user: 'root', password: 'p:w' },
      clusterTls: { caFile: 'ca.pem', certFile: null, keyFile: null, skipVerify: false },
    });
    expect(gateway(['--user=a:b', '--password=c'])).toMatchObject({ login: { user: 'a:b', password: 'c' } });
    expect(gateway([], { CONCLAVE_TIMEOUT: '5' }).endpoints).toEqual(['localhost:2379']);
  });

  test('variables of the commands of the service are for nobody else', () => {
    const env = {
      CONCLAVE_HTTP_ENDPOINT: 'http://h:1',
      CONCLAVE_APPLICATION: 'pay',
      CONCLAVE_ENVIRONMENT: 'DEV',
    };
    expect(gateway([], env)).toEqual(gateway([]));
    expect(parse({ env })).toEqual(parse({}));
  });

  test('what contradicts itself, or belongs to a member, is refused', () => {
    expect(refused(['--user=root'])).toContain('the password of root is missing');
    expect(refused(['--password=x'])).toContain('--password needs --user');
    expect(refused(['--cert=x'])).toContain('--cert and --key are needed together');
    expect(refused(['--endpoints=,'])).toContain('there is no endpoint');
    expect(refused(['--data-dir=d'])).toContain("'conclave gateway --help' lists what there is");
    expect(refused(['--listen-http-urls=http://0.0.0.0:8080'])).toContain('--allow-insecure-transport');
    expect(refused(['--listen-http-urls=https://localhost:8080'])).toContain('needs --cert-file');
    expect(refused(['--max-txn-ops=0'])).toContain('outside 1 to');
  });

  test('every option of it has one meaning', () => {
    const names = GATEWAY_FLAGS.map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
  });
});
