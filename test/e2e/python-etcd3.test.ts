import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { CertificateFiles, TestAuthority } from '../support/certificates.ts';
import { Cluster } from '../support/cluster.ts';
import { run } from '../support/etcdctl.ts';
import { pythonScenario, skipWithoutPythonEtcd3 } from '../support/python-etcd3.ts';

const MAIN = join(import.meta.dirname, '../../dist/src/main.js');

function hosts(cluster: Cluster): readonly (readonly [string, number])[] {
  return cluster.members.map(({ clientUrl }) => {
    const { hostname, port } = new URL(clientUrl);
    return [hostname, Number(port)] as const;
  });
}

async function passes(name: string, settings: object): Promise<void> {
  const result = await pythonScenario(name, settings);
  expect(result, result.stderr).toMatchObject({ code: 0, stdout: 'ok\n' });
}

/** What the client does and must see stands in `python/scenarios.py`. */
describe.skipIf(skipWithoutPythonEtcd3)('python etcd3 (needs Debian python3-etcd3)', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(3);
  });
  afterAll(async () => {
    await cluster.destroy();
  });

  test.each([
    ['puts, gets and deletes, on every member', 'put_get_delete'],
    ['ranges by prefix and interval, sorted', 'ranges'],
    ['transactions, with every kind of comparison, and one in another', 'transactions'],
    ['watches, by callback and by iterator, from now and from history, canceled', 'watches'],
    ['leases: granted, renewed, looked at, revoked, expired', 'leases'],
    ['its locks exclude each other, are waited for, and end with their holder', 'locks'],
  ])('%s', async (_title, scenario) => {
    await passes(scenario, { hosts: hosts(cluster) });
  });

  test('status, members, compaction, defragmentation, hash, alarms and a snapshot', async () => {
    const snapshot = join(cluster.directory, 'python.db');
    const [port] = await freePorts(1);
    await passes('maintenance', {
      hosts: hosts(cluster),
      names: cluster.members.map(({ name }) => name),
      snapshot,
      newMemberUrls: [`http://127.0.0.1:${port}`],
    });
    const status = await run(process.execPath, [MAIN, 'snapshot', 'status', snapshot]);
    expect(status, status.stderr).toMatchObject({ code: 0 });
  });
});

describe.skipIf(skipWithoutPythonEtcd3)('python etcd3 over TLS (needs Debian python3-etcd3)', () => {
  const authority = new TestAuthority('clients');
  let files: CertificateFiles;
  let cluster: Cluster | null = null;

  beforeAll(() => {
    files = new CertificateFiles();
  });
  afterAll(async () => {
    await cluster?.destroy();
    files[Symbol.dispose]();
  });

  test('signs in and is held to its role; shows a certificate, and is not served without', async () => {
    const server = files.writePair('server', authority.issue('server'));
    const mine = files.writePair('mine', authority.issue('mine'));
    const ca = files.write('ca.pem', authority.cert);
    const flags = [
      `--cert-file=${server.cert}`,
      `--key-file=${server.key}`,
      `--trusted-ca-file=${ca}`,
      '--bcrypt-cost=4',
    ];
    cluster = await Cluster.create(1, flags);
    const [member] = cluster.members;
    const url = member!.clientUrl.replace('http:', 'https:');
    await cluster.launch(member!, { clientUrls: [url] }).ready();
    const settings = { hosts: hosts(cluster), ca_cert: ca, cert_cert: mine.cert, cert_key: mine.key };
    await passes('secure', settings);

    const tls = {
      ca: Buffer.from(authority.cert),
      ...pairOf(authority.issue('administrator')),
    };
    using client = new KvClient({ endpoints: [url], tls });
    const { auth } = client;
    await auth.userAdd({ name: 'root', password: 'secret' });
    await auth.userGrantRole({ user: 'root', role: 'root' });
    await auth.userAdd({ name: 'u', password: 'pw' });
    await auth.roleAdd('r');
    await auth.roleGrantPermission('r', { type: 'read-write', key: 'a', rangeEnd: 'b' });
    await auth.userGrantRole({ user: 'u', role: 'r' });
    await auth.enable();
    await passes('authentication', settings);
  });
});

function pairOf({ cert, key }: { readonly cert: string; readonly key: string }) {
  return { cert: Buffer.from(cert), key: Buffer.from(key) };
}
