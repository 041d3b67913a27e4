import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { get as httpsGet } from 'node:https';
import { join } from 'node:path';
import { Etcd3 } from 'etcd3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { CertificateFiles, type Issued, TestAuthority } from '../support/certificates.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { type CommandResult, etcdctl, run, skipWithoutEtcdctl } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';

const MAIN = join(import.meta.dirname, '../../dist/src/main.js');
const clientAuthority = new TestAuthority('clients');
const peerAuthority = new TestAuthority('members');

let files: CertificateFiles;
let cluster: Cluster;
beforeEach(() => {
  files = new CertificateFiles();
});
afterEach(async () => {
  await cluster.destroy();
  files[Symbol.dispose]();
});

/** The flags of both sides, with all the files they name; every member shares one certificate a side. */
function mutualTls(extra: readonly string[] = []): readonly string[] {
  const [server, peer] = [clientAuthority.issue('server'), peerAuthority.issue('member')];
  const [served, met] = [files.writePair('server', server), files.writePair('peer', peer)];
  return [
    `--cert-file=${served.cert}`,
    `--key-file=${served.key}`,
    `--trusted-ca-file=${files.write('ca.pem', clientAuthority.cert)}`,
    '--client-cert-auth',
    `--client-crl-file=${files.write('clients.crl', clientAuthority.revocationList([]))}`,
    `--peer-cert-file=${met.cert}`,
    `--peer-key-file=${met.key}`,
    `--peer-trusted-ca-file=${files.write('peer-ca.pem', peerAuthority.cert)}`,
    '--peer-client-cert-auth',
    ...extra,
  ];
}

async function start(size: number, flags: readonly string[]): Promise<void> {
  cluster = await Cluster.create(size, flags, 'https');
  await cluster.startAll();
}

/** The flags that etcdctl and conclave have in common. */
function clientFlags(issued: Issued, name = 'client', ca = files.path('ca.pem')): readonly string[] {
  const { cert, key } = files.writePair(name, issued);
  return ['--cacert', ca, '--cert', cert, '--key', key];
}

function conclave(...args: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, [MAIN, '--endpoints', cluster.endpoints, ...args]);
}

function page(url: string, tls: { readonly ca?: string } & Partial<Issued>): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { rejectUnauthorized: tls.ca !== undefined, agent: false, ...tls };
    httpsGet(url, options, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

function expiryOf(metrics: string, side: string): number {
  const line = metrics.split('\n').find((text) => text.includes(`expiry_timestamp_seconds{side="${side}"}`));
  return Number(line?.split(' ')[1]);
}

describe.skipIf(skipWithoutEtcdctl)('etcdctl (needs etcd-client)', () => {
  test('is served over mutual TLS, and only with a certificate that holds', async () => {
    await start(1, mutualTls());
    const good = clientFlags(clientAuthority.issue('alice'));
    expect(await etcdctl(cluster.endpoints, ...good, 'put', 'k', 'v')).toMatchObject({ code: 0 });
    expect((await etcdctl(cluster.endpoints, ...good, 'get', 'k')).stdout).toBe('k\nv\n');
    expect((await etcdctl(cluster.endpoints, ...good, 'endpoint', 'health')).code).toBe(0);

    const impatient = ['--dial-timeout=1s', '--command-timeout=2s', 'get', 'k'];
    const failing = async (flags: readonly string[]): Promise<void> => {
      const result = await etcdctl(cluster.endpoints, ...flags, ...impatient);
      expect(result).toMatchObject({ stdout: '' });
      expect(result.code).not.toBe(0);
    };
    const other = new TestAuthority('other');
    await failing(['--cacert', files.path('ca.pem')]);
    await failing(clientFlags(other.issue('alice'), 'wrong-ca'));
    await failing(clientFlags(clientAuthority.expired('alice'), 'expired'));
    await failing(clientFlags(clientAuthority.issue('alice'), 'a', files.write('other.pem', other.cert)));
    const plain = cluster.endpoints.replaceAll('https', 'http');
    expect((await etcdctl(plain, ...impatient)).code).not.toBe(0);

    const revoked = clientAuthority.issue('mallory');
    const flags = clientFlags(revoked, 'revoked');
    expect((await etcdctl(cluster.endpoints, ...flags, 'get', 'k')).code).toBe(0);
    files.write('clients.crl', clientAuthority.revocationList([revoked.serial]));
    await eventually('the revocation', async () => {
      return (await etcdctl(cluster.endpoints, ...flags, ...impatient)).code !== 0;
    });
    expect((await etcdctl(cluster.endpoints, ...good, 'get', 'k')).code).toBe(0);
    expect(cluster.members[0]!.process!.log).toContain('is revoked');
  });

  test('watches go on while the certificate is exchanged', async () => {
    await start(1, mutualTls());
    const { clientUrl, httpUrl } = cluster.members[0]!;
    const alice = clientAuthority.issue('alice');
    const ca = Buffer.from(clientAuthority.cert);
    const tls = { ca, cert: Buffer.from(alice.cert), key: Buffer.from(alice.key) };
    using client = new KvClient({ endpoints: [clientUrl], tls });
    const batches = client.watch({ key: 'k' })[Symbol.asyncIterator]();
    const first = batches.next();
    await client.put({ key: 'k', value: 'before' });
    expect((await first).value?.events[0]?.kv.value.toString()).toBe('before');

    const issued = clientAuthority.issue('server', { notAfterMs: Date.UTC(2040, 0, 1) });
    files.writePair('server', issued);
    const metrics = await eventually('the new certificate', async () => {
      const text = await page(`${httpUrl}/metrics`, { ca: clientAuthority.cert, ...alice });
      return expiryOf(text, 'client') === Date.UTC(2040, 0, 1) / 1000 && text;
    });
    expect(expiryOf(metrics, 'peer')).toBeGreaterThan(Date.now() / 1000);
    expect(metrics).toContain('conclave_tls_reloads_total{side="client",outcome="taken"} 1');
    expect(metrics).toContain('conclave_tls_reloads_total{side="peer",outcome="taken"} 0');
    const put = await etcdctl(clientUrl, ...clientFlags(alice), 'put', 'k', 'after');
    expect(put, put.stderr).toMatchObject({ code: 0 });
    expect((await batches.next()).value?.events[0]?.kv.value.toString()).toBe('after');
    await batches.return?.(undefined);
  });
});

describe('three members with mutual TLS', () => {
  test('survive the rotation of certificates and of their authority', async () => {
    await start(3, mutualTls(['--peer-cert-allowed-cn=member,member-2']));
    const flags = clientFlags(clientAuthority.issue('alice'));
    const put = async (value: string): Promise<void> => {
      const result = await conclave(...flags, 'kv', 'put', 'k', value);
      expect(result, result.stderr).toMatchObject({ code: 0 });
    };
    const reloaded = async (): Promise<void> => {
      const logs = cluster.members.map((item) => item.process!.logged('certificates reloaded'));
      await Promise.all(logs);
    };
    const restart = async (item: ClusterMember): Promise<void> => {
      await item.process!.stop('SIGKILL');
      await cluster.launch(item).ready();
    };
    await put('1');
    // Both authorities are trusted, then the certificates change, then the old authority goes.
    const next = new TestAuthority('next members');
    files.write('peer-ca.pem', peerAuthority.cert + next.cert);
    await reloaded();
    files.writePair('peer', next.issue('member-2'));
    await restart(cluster.members[0]!);
    await put('2');
    files.write('peer-ca.pem', next.cert);
    await restart(cluster.members[1]!);
    await put('3');
    await restart(cluster.members[2]!);
    await put('4');
    const all = await conclave(...flags, 'status', '--cluster');
    expect(all, all.stderr).toMatchObject({ code: 0 });
  });

  test('keep out whom the authority or the names do not admit', async () => {
    await start(3, mutualTls(['--peer-cert-allowed-cn=member']));
    const [first, , last] = cluster.members;
    await last!.process!.stop();
    const outsiders: [Issued, string][] = [
      [new TestAuthority('other').issue('member'), 'the certificate is not accepted'],
      [peerAuthority.issue('somebody'), "the common name 'somebody' is not one of those allowed"],
      [peerAuthority.expired('member'), 'CERT_HAS_EXPIRED'],
      [peerAuthority.issue('member', { hosts: ['203.0.113.7'] }), 'the certificate is not for 127.0.0.1'],
    ];
    for (const [outsider, reason] of outsiders) {
      const { cert, key } = files.writePair('outsider', outsider);
      cluster.launch(last!, { flags: mutualTlsFlagsWith({ cert, key }) });
      await first!.process!.logged(reason);
      await last!.process!.stop('SIGKILL');
      expect(last!.process!.log).not.toContain('ready to serve');
    }
    const alice = clientAuthority.issue('alice');
    expect((await conclave(...clientFlags(alice), 'kv', 'put', 'k', 'v')).code).toBe(0);
    const metrics = await page(`${first!.httpUrl}/metrics`, { ca: clientAuthority.cert, ...alice });
    const failed = /conclave_peer_tls_handshakes_failed_total (\d+)/.exec(metrics)?.[1];
    expect(Number(failed)).toBeGreaterThanOrEqual(outsiders.length);
  });
});

function mutualTlsFlagsWith(pair: { readonly cert: string; readonly key: string }): readonly string[] {
  return [
    `--cert-file=${files.path('server.pem')}`,
    `--key-file=${files.path('server-key.pem')}`,
    `--peer-cert-file=${pair.cert}`,
    `--peer-key-file=${pair.key}`,
    `--peer-trusted-ca-file=${files.path('peer-ca.pem')}`,
  ];
}

test('certificates generated on both sides make a cluster, and are kept', async () => {
  await start(3, ['--auto-tls', '--peer-auto-tls', '--self-signed-cert-validity=3']);
  const [first] = cluster.members;
  const key = join(first!.dataDir, 'auto-tls', 'client', 'key.pem');
  expect(statSync(key).mode & 0o777).toBe(0o600);
  const cert = readFileSync(join(first!.dataDir, 'auto-tls', 'peer', 'cert.pem'));
  expect(new X509Certificate(cert).checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(first!.process!.log).toContain('members are not verified');
  const flags = ['--insecure-skip-tls-verify'];
  expect((await conclave(...flags, 'kv', 'put', 'k', 'v')).code).toBe(0);
  await cluster.restart(first!);
  expect(readFileSync(join(first!.dataDir, 'auto-tls', 'peer', 'cert.pem'))).toEqual(cert);
  expect((await conclave(...flags, 'kv', 'get', 'k')).stdout).toContain('v');
  const verified = await conclave('--cacert', files.write('x.pem', clientAuthority.cert), 'kv', 'get', 'k');
  expect(verified.code).toBe(1);
  expect(verified.stderr).toContain('self-signed certificate');
  const health = await page(`${first!.httpUrl}/health`, {});
  expect(JSON.parse(health)).toMatchObject({ health: 'true' });
});

test.skipIf(skipWithoutEtcdctl)(
  'a common name is a user when --client-cert-auth is on, and no more than a key to the door without it',
  async () => {
    const flags = mutualTls();
    await start(1, flags);
    const by = (name: string, ...args: readonly string[]): Promise<CommandResult> =>
      etcdctl(cluster.endpoints, ...clientFlags(clientAuthority.issue(name), name), ...args);
    const setUp: readonly (readonly string[])[] = [
      ['user', 'add', 'root', '--no-password'],
      ['user', 'add', 'alice', '--no-password'],
      ['role', 'add', 'r'],
      ['role', 'grant-permission', 'r', 'readwrite', 'a/', '--prefix=true'],
      ['user', 'grant-role', 'alice', 'r'],
      ['auth', 'enable'],
    ];
    for (const words of setUp) expect(await by('anybody', ...words)).toMatchObject({ code: 0 });
    expect((await by('alice', 'put', 'a/1', 'x')).code).toBe(0);
    expect((await by('alice', 'put', 'b', 'x')).stderr).toContain('etcdserver: permission denied');
    expect((await by('root', 'put', 'b', 'x')).code).toBe(0);
    expect((await by('mallory', 'get', 'a/1')).code).not.toBe(0);

    const [member] = cluster.members;
    await member!.process!.stop();
    await cluster.launch(member!, { flags: flags.filter((flag) => flag !== '--client-cert-auth') }).ready();
    expect((await by('root', 'put', 'b', 'x')).stderr).toContain('etcdserver: user name is empty');
  },
);

test('the conclave command takes certificates from flags and variables, and says what is wrong', async () => {
  await start(1, mutualTls());
  const alice = clientAuthority.issue('alice');
  const { cert, key } = files.writePair('alice', alice);
  const env = { CONCLAVE_CACERT: files.path('ca.pem'), CONCLAVE_CERT: cert, CONCLAVE_KEY: key };
  const address = new URL(cluster.endpoints).host;
  const args = [MAIN, '--endpoints', address, 'kv', 'put', 'k', 'v'];
  expect(await run(process.execPath, args, env)).toMatchObject({ code: 0 });
  const flags = clientFlags(alice);
  expect((await conclave(...flags, 'kv', 'get', 'k')).stdout).toContain('v');
  const save = await conclave(...flags, 'snapshot', 'save', files.path('backup'));
  expect(save, save.stderr).toMatchObject({ code: 0 });
  const unknown = await conclave('kv', 'get', 'k');
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).toMatch(/cannot connect to .*: .*certificate/);
});

test('npm etcd3 is served over mutual TLS', async () => {
  await start(1, mutualTls());
  const alice = clientAuthority.issue('alice');
  const client = new Etcd3({
    hosts: cluster.endpoints,
    credentials: {
      rootCertificate: Buffer.from(clientAuthority.cert),
      privateKey: Buffer.from(alice.key),
      certChain: Buffer.from(alice.cert),
    },
  });
  try {
    await client.put('k').value('v');
    expect(await client.get('k').string()).toBe('v');
    const watcher = await client.watch().key('k').create();
    const seen = new Promise<string>((resolve) => watcher.on('put', (kv) => resolve(kv.value.toString())));
    await client.put('k').value('w');
    expect(await seen).toBe('w');
    await watcher.cancel();
  } finally {
    client.close();
  }
});

test('plain and TLS addresses side by side serve the same member', async () => {
  const server = files.writePair('server', clientAuthority.issue('server'));
  cluster = await Cluster.create(1);
  const item = cluster.members[0]!;
  const place = await cluster.addPlace('spare');
  const secure = place.clientUrl.replace('http', 'https');
  cluster.members.pop();
  cluster.launch(item, {
    flags: [`--cert-file=${server.cert}`, `--key-file=${server.key}`],
    clientUrls: [item.clientUrl, secure],
  });
  await item.process!.ready();
  using plain = new KvClient({ endpoints: [item.clientUrl] });
  using encrypted = new KvClient({ endpoints: [secure], tls: { ca: Buffer.from(clientAuthority.cert) } });
  await plain.put({ key: 'k', value: 'v' });
  expect((await encrypted.range({ key: 'k' })).kvs[0]?.value.toString()).toBe('v');
});

test('plain text off this machine is refused, and served with a warning when asked for', async () => {
  cluster = await Cluster.create(1, ['--allow-insecure-transport']);
  const item = cluster.members[0]!;
  const wildcard = item.httpUrl.replace('127.0.0.1', '0.0.0.0');
  cluster.launch(item, { httpUrl: wildcard });
  await item.process!.ready();
  expect(item.process!.log).toContain('plain text leaves this machine');
  await item.process!.stop();
  cluster.launch(item, { httpUrl: wildcard, flags: [] });
  expect(await item.process!.exit()).toBe(2);
});
