import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Etcd3, EtcdAuthenticationFailedError, EtcdPermissionDeniedError, Range } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ClientError } from '../../src/client/client-error.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { Cluster } from '../support/cluster.ts';
import { type CommandResult, etcdctl, run, skipWithoutEtcdctl } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';
import { rawCall } from '../support/raw-call.ts';

const MAIN = join(import.meta.dirname, '../../dist/src/main.js');
const FLAGS = ['--bcrypt-cost=4'];
const DENIED = 'etcdserver: permission denied';

async function ok(result: Promise<CommandResult>): Promise<string> {
  const { code, stdout, stderr } = await result;
  expect(code, stderr).toBe(0);
  return stdout;
}
async function refused(result: Promise<CommandResult>, text: string): Promise<void> {
  const { code, stderr } = await result;
  expect(code).not.toBe(0);
  expect(stderr).toContain(text);
}

/** root, and u with the role r: [a, b) to read and write, k to read, w to write, x and all after it. */
async function enable(endpoints: string): Promise<void> {
  using client = new KvClient({ endpoints: endpoints.split(',') });
  const { auth } = client;
  await auth.userAdd({ name: 'root', password: 'rootpw' });
  await auth.userGrantRole({ user: 'root', role: 'root' });
  await auth.userAdd({ name: 'u', password: 'pw' });
  await auth.roleAdd('r');
  await auth.roleGrantPermission('r', { type: 'read-write', key: 'a', rangeEnd: 'b' });
  await auth.roleGrantPermission('r', { type: 'read', key: 'k' });
  await auth.roleGrantPermission('r', { type: 'write', key: 'w' });
  await auth.roleGrantPermission('r', { type: 'read-write', key: 'x', rangeEnd: Buffer.of(0) });
  await auth.userGrantRole({ user: 'u', role: 'r' });
  await auth.enable();
}

describe.skipIf(skipWithoutEtcdctl)('etcdctl with authentication (needs Debian etcd-client)', () => {
  let cluster: Cluster;
  const ctl = (...args: string[]) => etcdctl(cluster.endpoints, ...args);
  const asRoot = (...args: string[]) => ctl('--user=root:rootpw', ...args);
  const asUser = (...args: string[]) => ctl('--user=u:pw', ...args);

  beforeAll(async () => {
    cluster = await Cluster.start(3, FLAGS);
  });
  afterAll(async () => {
    await cluster.destroy();
  });

  test('sets up users and roles, and enables', async () => {
    await refused(ctl('auth', 'enable'), 'etcdserver: root user does not exist');
    expect(await ok(ctl('user', 'add', 'root:rootpw'))).toBe('User root created\n');
    await ok(ctl('user', 'add', 'u:pw'));
    await ok(ctl('user', 'add', 'cert', '--no-password'));
    await refused(ctl('user', 'add', 'u:pw'), 'etcdserver: user name already exists');
    await ok(ctl('role', 'add', 'r'));
    await refused(ctl('role', 'add', 'r'), 'etcdserver: role name already exists');
    await refused(ctl('user', 'grant-role', 'u', 's'), 'etcdserver: role name not found');
    await ok(ctl('role', 'grant-permission', 'r', 'readwrite', 'a', '--prefix=true'));
    await ok(ctl('role', 'grant-permission', 'r', 'read', 'k'));
    await ok(ctl('role', 'grant-permission', 'r', 'write', 'w'));
    await ok(ctl('role', 'grant-permission', 'r', 'readwrite', 'x', '--from-key'));
    await ok(ctl('user', 'grant-role', 'u', 'r'));
    expect(await ok(ctl('role', 'get', 'r'))).toBe(
      'Role r\nKV Read:\n\t[a, b) (prefix a)\n\tk\n\t[x, <open ended>\n' +
        'KV Write:\n\t[a, b) (prefix a)\n\tw\n\t[x, <open ended>\n',
    );
    expect(await ok(ctl('user', 'list'))).toBe('cert\nroot\nu\n');
    // It grants root the root role by itself.
    expect(await ok(ctl('auth', 'enable'))).toBe('Authentication Enabled\n');
  });

  test('keys are within what the roles allow, on every member', async () => {
    await refused(ctl('put', 'a', '1'), 'etcdserver: user name is empty');
    await refused(
      ctl('--user=u:wrong', 'put', 'a', '1'),
      'etcdserver: authentication failed, invalid user ID or password',
    );
    await ok(asRoot('put', 'k', 'root wrote it'));
    for (const { clientUrl } of cluster.members) {
      const here = (...args: string[]) => etcdctl(clientUrl, '--user=u:pw', ...args);
      await ok(here('put', 'a1', clientUrl));
      expect(await ok(here('get', '--prefix', 'a'))).toBe(`a1\n${clientUrl}\n`);
      expect(await ok(here('get', 'k'))).toBe('k\nroot wrote it\n');
      await refused(here('put', 'k', '1'), DENIED);
      await refused(here('get', 'k', '--from-key'), DENIED);
      await refused(here('get', 'k', 'l'), DENIED);
      await refused(here('get', '', '--from-key'), DENIED);
      await refused(here('get', '--prefix', ''), DENIED);
      await ok(here('put', 'w', '1'));
      await refused(here('put', 'w', '1', '--prev-kv'), DENIED);
      await refused(here('get', 'w'), DENIED);
      await ok(here('put', 'zz', '1'));
      expect(await ok(here('get', 'x', '--from-key', '--keys-only'))).toBe('zz\n\n');
      await refused(here('del', 'w', '--from-key'), DENIED);
      expect(await ok(here('del', 'x', '--from-key'))).toBe('1\n');
      expect(await ok(here('get', 'a1', '--consistency=s'))).toContain(clientUrl);
    }
  });

  test('a transaction with one forbidden operation is denied as a whole', async () => {
    const words = ['--endpoints', cluster.endpoints, '--user=u:pw', 'txn'];
    const env = { ETCDCTL_API: '3' };
    const tried = (input: string) => run('etcdctl', words, env, input);
    await refused(tried('\nput a1 forbidden\nput k 1\n\n\n'), DENIED);
    await refused(tried('\nput a1 forbidden\n\nget w\n\n'), DENIED);
    await refused(tried('val("w") = "1"\n\nput a1 forbidden\n\n\n'), DENIED);
    expect(await ok(asUser('get', 'a1', '--print-value-only'))).not.toContain('forbidden');
    expect(await ok(tried('val("k") = "root wrote it"\n\nput a1 allowed\n\n\n'))).toContain('SUCCESS');
    expect(await ok(asUser('get', 'a1', '--print-value-only'))).toBe('allowed\n');
  });

  test("the cluster's matters are root's, a user's own are his", async () => {
    for (const args of [
      ['user', 'list'],
      ['role', 'list'],
      ['user', 'get', 'root'],
      ['role', 'add', 's'],
      ['user', 'add', 'v:pw'],
      ['compaction', '1'],
      ['defrag'],
      ['member', 'add', 'n9', '--peer-urls=http://127.0.0.1:9'],
      ['auth', 'disable'],
    ]) {
      const { code, stdout, stderr } = await asUser(...args);
      expect(`${stdout}${stderr}`, args.join(' ')).toContain(DENIED);
      expect(code, args.join(' ')).not.toBe(0);
    }
    expect(await ok(asUser('user', 'get', 'u'))).toBe('User: u\nRoles: r\n');
    expect(await ok(asUser('role', 'get', 'r'))).toContain('Role r');
    expect(await ok(asUser('member', 'list'))).toContain('n1');
    await refused(ctl('member', 'list'), 'user name is empty');
    await refused(asRoot('user', 'delete', 'root'), 'etcdserver: invalid auth management');
    await refused(asRoot('user', 'revoke-role', 'root', 'root'), 'etcdserver: invalid auth management');
    await refused(asRoot('role', 'delete', 'root'), 'etcdserver: invalid auth management');
    const here = (user: string) =>
      [cluster.members[0]!.clientUrl, `--user=${user}`, 'snapshot', 'save'] as const;
    const file = (name: string) => join(cluster.directory, name);
    await refused(etcdctl(...here('u:pw'), file('forbidden.db')), DENIED);
    await ok(etcdctl(...here('root:rootpw'), file('backup.db')));
    const health = await asRoot('endpoint', 'health');
    expect(`${health.stdout}${health.stderr}`).toContain('is healthy');
    expect(health.code).toBe(0);
  });

  test('health is told to anybody; the JSON gateway wants to know who asks', async () => {
    for (const { clientUrl } of cluster.members) {
      const health = await fetch(`${clientUrl}/health`);
      expect({ status: health.status, body: await health.json() }).toEqual({
        status: 200,
        body: { health: 'true', reason: '' },
      });
      expect((await fetch(`${clientUrl}/health?serializable=true`)).status).toBe(200);
      const post = async (path: string, body: object, headers: Record<string, string> = {}) => {
        const url = `${clientUrl}/v3/${path}`;
        const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
        return { status: response.status, body: (await response.json()) as Record<string, string> };
      };
      const key = Buffer.from('a-json').toString('base64');
      const other = Buffer.from('q').toString('base64');
      const nobody = await post('kv/put', { key, value: key });
      expect(nobody).toMatchObject({ status: 400, body: { message: 'etcdserver: user name is empty' } });
      const { body } = await post('auth/authenticate', { name: 'u', password: 'pw' });
      const headers = { authorization: body['token']! };
      expect((await post('kv/put', { key, value: key }, headers)).status).toBe(200);
      expect(await post('kv/range', { key }, headers)).toMatchObject({ body: { count: '1' } });
      for (const path of ['kv/range', 'kv/put', 'kv/deleterange']) {
        expect(await post(path, { key: other }, headers)).toMatchObject({
          status: 403,
          body: { message: DENIED },
        });
      }
    }
    expect(await ok(asUser('lock', 'a-lock', 'echo', 'held'))).toContain('held');
    await refused(asUser('lock', 'q', 'echo', 'held'), DENIED);
  });

  test('a lease whose keys are out of reach is, too', async () => {
    const granted = await ok(asUser('lease', 'grant', '600'));
    const lease = /lease (\w+) granted/.exec(granted)![1]!;
    await ok(asUser('put', 'a2', '', '--lease', lease));
    expect(await ok(asUser('lease', 'timetolive', lease, '--keys'))).toContain('attached keys([a2])');
    await ok(asRoot('put', 'q', '', '--lease', lease));
    await refused(asUser('lease', 'timetolive', lease, '--keys'), DENIED);
    await refused(asUser('lease', 'revoke', lease), DENIED);
    await refused(asUser('lease', 'list'), DENIED);
    await refused(asUser('put', 'a3', '', '--lease', lease), DENIED);
    expect(await ok(asRoot('lease', 'revoke', lease))).toContain('revoked');
  });

  test('a watch is refused outside, and ends when its permission is revoked', async () => {
    for (const [key, ...flags] of [['w'], ['k', 'l'], ['', '--prefix'], ['a', 'c']]) {
      await refused(
        asUser('watch', key!, ...flags),
        'code = PermissionDenied desc = etcdserver: permission denied',
      );
    }
    await refused(ctl('watch', 'k'), 'user name is empty');

    const child = spawn('etcdctl', ['--endpoints', cluster.endpoints, '--user=u:pw', 'watch', 'k'], {
      env: { ...process.env, ETCDCTL_API: '3' },
    });
    const lines: string[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const ended = new Promise((resolve) => child.once('close', resolve));
    try {
      await eventually('the watch hears of a change', async () => {
        await asRoot('put', 'k', 'seen');
        return lines.includes('seen');
      });
      await ok(asRoot('put', 'k1', 'never seen'));
      await ok(asRoot('role', 'revoke-permission', 'r', 'k'));
      await ok(asRoot('put', 'k', 'too late'));
      await ended;
      // This old client does not pass the reason on.
      expect(errors).toContain('watch is canceled by the server');
      expect(lines.join('\n')).not.toMatch(/never seen|too late|k1/);
    } finally {
      child.kill();
    }
    await ok(asRoot('role', 'grant-permission', 'r', 'read', 'k'));
  });

  test('a new password is good, the old one and no hash are shown anywhere', async () => {
    const words = ['--endpoints', cluster.endpoints, '--user=root:rootpw', 'user', 'passwd', 'u'];
    await ok(run('etcdctl', [...words, '--interactive=false'], { ETCDCTL_API: '3' }, 'pw2\n'));
    await refused(asUser('get', 'k'), 'etcdserver: authentication failed');
    await ok(ctl('--user=u:pw2', 'get', 'k'));
    await ok(run('etcdctl', [...words, '--interactive=false'], { ETCDCTL_API: '3' }, 'pw\n'));
    for (const { process } of cluster.members) expect(process!.log).not.toMatch(/rootpw|pw2|scrypt/);
  });

  test('restarted members go on with the same users; all have the same state', async () => {
    for (const member of cluster.members) await cluster.restart(member);
    await refused(ctl('put', 'a', '1'), 'etcdserver: user name is empty');
    await ok(asUser('put', 'a', 'after'));
    const hashes = new Set<number>();
    for (const { clientUrl } of cluster.members) {
      const { stdout } = await etcdctl(clientUrl, '--user=root:rootpw', 'user', 'list');
      expect(stdout).toBe('cert\nroot\nu\n');
      const json = await ok(etcdctl(clientUrl, '--user=root:rootpw', 'endpoint', 'hashkv', '-w', 'json'));
      hashes.add((JSON.parse(json) as { HashKV: { hash: number } }[])[0]!.HashKV.hash);
    }
    expect(hashes.size).toBe(1);
  });

  test('disabling opens everything again', async () => {
    expect(await ok(asRoot('auth', 'disable'))).toBe('Authentication Disabled\n');
    await ok(ctl('put', 'anything', '1'));
    // A client that signs in anyway is served.
    await ok(asUser('put', 'anything', '2'));
    await refused(asUser('user', 'delete', 'nobody'), 'etcdserver: user name not found');
  });
});

describe('clients with authentication', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(3, FLAGS);
    await enable(cluster.endpoints);
  });
  afterAll(async () => {
    await cluster.destroy();
  });

  const conclave = (input: string, env: NodeJS.ProcessEnv, ...words: string[]) =>
    run(process.execPath, [MAIN, ...words], { CONCLAVE_ENDPOINTS: cluster.endpoints, ...env }, input);
  const asRoot = (...words: string[]) => conclave('', { CONCLAVE_USER: 'root:rootpw' }, ...words);
  const asUser = (...words: string[]) => conclave('', {}, '--user', 'u:pw', ...words);

  test('the conclave command signs in, and manages users and roles', async () => {
    await refused(conclave('', {}, 'kv', 'put', 'a', '1'), 'user name is empty');
    await refused(asUser('kv', 'put', 'b', '1'), DENIED);
    expect(await ok(asUser('kv', 'put', 'a', '1'))).toBe('OK\n');
    expect(await ok(conclave('pw\n', {}, '--user', 'u', 'kv', 'get', 'a'))).toBe('a\n1\n');
    expect(await ok(conclave('', {}, '--user=u', '--password=pw', 'kv', 'get', 'a'))).toBe('a\n1\n');
    expect(await ok(asRoot('auth', 'status'))).toMatch(/^Authentication: enabled\nRevision: \d+\n$/);
    expect(await ok(asRoot('role', 'add', 'team'))).toBe('Role team created\n');
    await ok(asRoot('role', 'grant-permission', 'team', 'readwrite', 'team/', '--prefix'));
    expect(await ok(asRoot('role', 'get', 'team'))).toBe(
      'Role team\nKV Read:\n\t[team/, team0) (prefix team/)\nKV Write:\n\t[team/, team0) (prefix team/)\n',
    );
    expect(await ok(conclave('typed\n', { CONCLAVE_USER: 'root:rootpw' }, 'user', 'add', 'v'))).toBe(
      'User v created\n',
    );
    await ok(asRoot('user', 'grant-role', 'v', 'team'));
    await ok(conclave('', {}, '--user=v:typed', 'kv', 'put', 'team/x', '1'));
    expect(await ok(asRoot('user', 'get', 'v', '--detail'))).toContain('Roles: team\nRole team\n');
    await ok(conclave('other\n', { CONCLAVE_USER: 'root:rootpw' }, 'user', 'passwd', 'v'));
    await refused(conclave('', {}, '--user=v:typed', 'kv', 'get', 'team/x'), 'authentication failed');
    await ok(asRoot('role', 'revoke-permission', 'team', 'team/', '--prefix'));
    await refused(conclave('', {}, '--user=v:other', 'kv', 'get', 'team/x'), DENIED);
    await ok(asRoot('user', 'revoke-role', 'v', 'team'));
    await ok(asRoot('user', 'add', 'c', '--no-password'));
    expect(await ok(asRoot('user', 'list'))).toBe('c\nroot\nu\nv\n');
    expect(JSON.parse(await ok(asRoot('role', 'list', '-w', 'json')))).toEqual({ roles: ['r', 'team'] });
    await ok(asRoot('user', 'delete', 'v'));
    await ok(asRoot('role', 'delete', 'team'));
    expect(await ok(asRoot('status'))).toContain('leader');
    await ok(asRoot('snapshot', 'save', join(cluster.directory, 'own.db')));
  });

  test('the client gets a token, and another when it is over', async () => {
    const login = { user: 'u', password: 'pw' };
    using client = new KvClient({ endpoints: cluster.endpoints.split(','), login });
    using root = new KvClient({
      endpoints: cluster.endpoints.split(','),
      login: { user: 'root', password: 'rootpw' },
    });
    await client.put({ key: 'a', value: 'one' });
    const heard: string[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      for await (const { events } of client.watch({ key: 'a', signal: stop.signal, startRevision: 1 })) {
        for (const { kv } of events) heard.push(kv.value.toString());
      }
    })();
    await eventually('the watch hears', () => heard.includes('one'));
    // The token is void now; the watch ends, signs in anew and goes on where it was.
    await root.auth.userChangePassword({ name: 'u', password: 'pw' });
    await client.put({ key: 'a', value: 'two' });
    expect((await client.range({ key: 'a' })).kvs[0]!.value.toString()).toBe('two');
    await eventually('the watch goes on', () => heard.includes('two'));
    expect(heard.filter((value) => value === 'two')).toHaveLength(1);
    stop.abort();
    await watching;

    // Members are found by one of them, though none says anything of itself without a token.
    using finding = new KvClient({ endpoints: client.endpoints.slice(0, 1), login, discovery: true });
    await finding.range({ key: 'a' });
    await eventually('the others are found', () => finding.endpoints.length === 3);

    const { id } = await client.leaseGrant({ ttlSeconds: 60 });
    expect(await client.leaseKeepAlive(id)).toBe(60);
    await expect(client.range({ key: 'b' })).rejects.toMatchObject({
      code: 'permission-denied',
      message: DENIED,
    });
    await expect(client.watch({ key: 'b' }).next()).rejects.toMatchObject({ code: 'permission-denied' });
    using wrong = new KvClient({ endpoints: client.endpoints, login: { user: 'u', password: 'x' } });
    await expect(wrong.range({ key: 'a' })).rejects.toBeInstanceOf(ClientError);
  });

  test('npm etcd3 signs in, is held to its role, and hears of its one key alone', async () => {
    const hosts = cluster.members.map(({ clientUrl }) => clientUrl);
    const auth = { username: 'u', password: 'pw' };
    const user = new Etcd3({ hosts, auth });
    const root = new Etcd3({ hosts, auth: { username: 'root', password: 'rootpw' } });
    const wrong = new Etcd3({ hosts, auth: { username: 'u', password: 'wrong' } });
    try {
      await user.put('a1').value('mine');
      expect(await user.get('a1').string()).toBe('mine');
      await expect(user.put('b').value('x')).rejects.toThrow(EtcdPermissionDeniedError);
      await expect(user.getAll().prefix('').strings()).rejects.toThrow(EtcdPermissionDeniedError);
      await expect(wrong.get('a1').string()).rejects.toThrow(EtcdAuthenticationFailedError);

      const watcher = await user.watch().key('k').create();
      const keys: string[] = [];
      watcher.on('data', ({ events }) => keys.push(...events.map(({ kv }) => kv.key.toString())));
      await root.put('k').value('1');
      await root.put('k0').value('1');
      await root.put('k').value('2');
      await eventually('the watcher hears of both', () => keys.length === 2);
      expect(keys).toEqual(['k', 'k']);
      await watcher.cancel();

      const role = root.role('made-by-etcd3');
      await role.create();
      await role.grant({ permission: 'Readwrite', range: Range.prefix('m/') });
      expect(await role.permissions()).toMatchObject([{ permission: 'Readwrite' }]);
      await root.user('w').create('pw');
      await root.user('w').addRole(role);
      expect((await root.getUsers()).map(({ name }) => name)).toContain('w');
      await root.user('w').delete();
      await role.delete();
    } finally {
      for (const client of [user, root, wrong]) client.close();
    }
  });

  test('a request without, or with a wrong token is refused with its status', async () => {
    const url = cluster.members[0]!.clientUrl;
    const key = Buffer.from('a');
    expect(await rawCall(url, 'KV/Range', { key })).toEqual({
      ok: false,
      code: 3,
      text: 'etcdserver: user name is empty',
    });
    for (const [path, request] of [
      ['KV/Put', { key, value: key }],
      ['KV/Compact', { revision: 1 }],
      ['Lease/LeaseGrant', { TTL: 60 }],
      ['Lease/LeaseLeases', {}],
      ['Cluster/MemberList', {}],
      ['Maintenance/Status', {}],
      ['Maintenance/Hash', {}],
      ['Maintenance/Alarm', {}],
      ['Auth/UserList', {}],
      ['Auth/AuthDisable', {}],
    ] as const) {
      expect(await rawCall(url, path, request), path).toMatchObject({ ok: false, code: 3 });
    }
    expect(await rawCall(url, 'Auth/AuthStatus', {})).toMatchObject({ ok: true });
  });
});

describe('signed tokens', () => {
  test('are good on every member, also on one that can only verify', async () => {
    const cluster = await Cluster.create(3);
    try {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const [pub, priv] = [join(cluster.directory, 'pub.pem'), join(cluster.directory, 'priv.pem')];
      await writeFile(pub, publicKey.export({ type: 'spki', format: 'pem' }));
      await writeFile(priv, privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const signs = `--auth-token=jwt,pub-key=${pub},priv-key=${priv},sign-method=ES256,ttl=10m`;
      const verifies = `--auth-token=jwt,pub-key=${pub},sign-method=ES256`;
      for (const [i, member] of cluster.members.entries()) {
        cluster.launch(member, { flags: [...FLAGS, i === 2 ? verifies : signs] });
      }
      await Promise.all(cluster.members.map(({ process }) => process!.ready()));
      const [one, , three] = cluster.members;
      await enable(one!.clientUrl);
      const asked = await rawCall(one!.clientUrl, 'Auth/Authenticate', { name: 'u', password: 'pw' });
      const { token } = (asked as unknown as { answer: { token: string } }).answer;
      expect(token.split('.')).toHaveLength(3);
      for (const { clientUrl } of cluster.members) {
        expect(
          await rawCall(clientUrl, 'KV/Put', { key: Buffer.from('a'), value: Buffer.from('1') }, { token }),
        ).toMatchObject({ ok: true });
        expect(
          await rawCall(clientUrl, 'KV/Put', { key: Buffer.from('b') }, { authorization: `Bearer ${token}` }),
        ).toMatchObject({ ok: false, code: 7, text: DENIED });
      }
      expect(
        await rawCall(three!.clientUrl, 'Auth/Authenticate', { name: 'u', password: 'pw' }),
      ).toMatchObject({ ok: false, code: 12 });

      // A change of roles makes the token too old for keys; a client signs in anew by itself.
      using root = new KvClient({
        endpoints: [one!.clientUrl],
        login: { user: 'root', password: 'rootpw' },
      });
      using user = new KvClient({ endpoints: [one!.clientUrl], login: { user: 'u', password: 'pw' } });
      await user.put({ key: 'a', value: '2' });
      await root.auth.roleAdd('another');
      await root.auth.roleAdd('and another');
      expect(await rawCall(three!.clientUrl, 'KV/Range', { key: Buffer.from('a') }, { token })).toMatchObject(
        { ok: false, code: 3, text: 'etcdserver: revision of auth store is old' },
      );
      await user.put({ key: 'a', value: '3' });
    } finally {
      await cluster.destroy();
    }
  });

  test('need keys that are there and fit', async () => {
    const cluster = await Cluster.create(1);
    try {
      for (const [flag, text] of [
        ['--auth-token=jwt,sign-method=RS256,priv-key=/nowhere', '--auth-token: cannot read /nowhere'],
        [`--auth-token=jwt,sign-method=none,priv-key=${MAIN}`, "sign-method 'none' is none of"],
        [`--auth-token=jwt,sign-method=RS256,priv-key=${MAIN}`, 'holds no such key in PEM'],
      ] as const) {
        const started = cluster.launch(cluster.members[0]!, { flags: [flag] });
        expect(await started.exit()).toBe(1);
        expect(started.log).toContain(text);
      }
    } finally {
      await cluster.destroy();
    }
  });
});
