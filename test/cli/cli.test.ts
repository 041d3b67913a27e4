import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VERSION } from '../../src/lib/version.ts';
import { run } from './captured-io.ts';

test('help lists every command and shows how to begin', async () => {
  const { code, out, err } = await run(['--help']);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  for (const word of ['server', 'kv', 'status', 'member', 'snapshot', 'verify', 'Examples:', '--endpoints']) {
    expect(out).toContain(word);
  }
});

test('every command explains itself', async () => {
  const commands = ['get', 'put', 'del', 'txn', 'watch', 'compact'].map((name) => ['kv', name]);
  const members = ['list', 'add', 'remove', 'update', 'promote'].map((name) => ['member', name]);
  const snapshots = ['save', 'restore', 'status'].map((name) => ['snapshot', name]);
  const auth = ['enable', 'disable', 'status'].map((name) => ['auth', name]);
  const users = ['add', 'passwd', 'delete', 'list', 'get', 'grant-role', 'revoke-role'].map((name) => [
    'user',
    name,
  ]);
  const roles = ['add', 'delete', 'get', 'list', 'grant-permission', 'revoke-permission'].map((name) => [
    'role',
    name,
  ]);
  for (const words of [
    ...commands,
    ...members,
    ...snapshots,
    ...auth,
    ...users,
    ...roles,
    ['status'],
    ['verify'],
    ['server'],
  ]) {
    const { code, out } = await run([...words, '--help']);
    expect(code, words.join(' ')).toBe(0);
    expect(out).toContain(`Usage: conclave ${words.join(' ')}`);
  }
});

test("the server's help names every flag with its default, and the order of the sources", async () => {
  const { out } = await run(['server', '--help']);
  expect(out).toMatch(/--election-timeout N +milliseconds .*\(default: 1000\)/);
  expect(out).toContain('--initial-cluster VALUE');
  expect(out).toContain('The command line wins over variables, variables over the file');
});

test('the version is that of the package', async () => {
  const text = await readFile(join(import.meta.dirname, '../../package.json'), 'utf8');
  expect(VERSION).toBe((JSON.parse(text) as { version: string }).version);
  expect((await run(['--version'])).out).toBe(`conclave ${VERSION} (etcd API 3.6.0)\n`);
});

test('wrong words are a usage error that says which', async () => {
  const cases: [string[], RegExp][] = [
    [['stauts'], /unknown command 'stauts'[^]*Did you mean status/],
    [['kv', 'get'], /missing required argument 'key'/],
    [['kv', 'get', 'k', '--limit', 'many'], /'--limit <n>'.*'many' is invalid. It is not a whole number/],
    [['kv', 'get', 'k', '--nonsense'], /unknown option '--nonsense'/],
    [['kv', 'get', 'k', 'z', '--prefix'], /only one of an end of the range, --prefix and --from-key/],
    [['--write-out', 'xml', 'status'], /Allowed choices are simple, json/],
    [['--command-timeout', 'soon', 'status'], /not a duration/],
    [['--endpoints', 'nowhere', 'status'], /endpoint 'nowhere' is not of the form host:port/],
    [['--endpoints', 'unix://a:1', 'status'], /unix:\/\/ is not supported; use http/],
    [['--cert', 'c.pem', 'status'], /--cert and --key are needed together/],
    [['--insecure-skip-tls-verify=perhaps', 'status'], /neither true nor false/],
    [['member', 'remove', 'xyz'], /not a member id in hexadecimal/],
    [['member', 'add', 'n4'], /required option '--peer-urls <urls>' not specified/],
    [['member', 'add', 'n4', '--peer-urls', 'h:1'], /--peer-urls: 'h:1' is not of the form/],
  ];
  for (const [argv, text] of cases) {
    const { code, err, out } = await run(argv);
    expect(err).toMatch(text);
    expect({ argv, code, out }).toEqual({ argv, code: 2, out: '' });
    expect(err).not.toMatch(/\n\s+at /);
  }
});

test('a user without a password is asked for by name, not by a password that is empty', async () => {
  const dead = ['--endpoints', '127.0.0.1:1'];
  for (const words of [['u:'], ['u', '--new-user-password', ''], ['u']]) {
    const { code, err } = await run([...dead, 'user', 'add', ...words]);
    expect({ words, code }).toEqual({ words, code: 2 });
    expect(err).toContain('no password was given');
  }
  expect((await run([...dead, 'user', 'add', ':p'])).err).toContain('the user needs a name');
});

test('the server gets its options from flags and environment', async () => {
  const { code, server } = await run(['server', '--name', 'n1'], { env: { CONCLAVE_DATA_DIR: '/d' } });
  expect(code).toBe(0);
  expect(server).toMatchObject({ name: 'n1', dataDir: '/d' });
});

test('the gateway gets its options from flags and environment, and tells of them', async () => {
  const env = { CONCLAVE_ENDPOINTS: 'etcd:2379' };
  const { code, gateway, server } = await run(['gateway', '--tenant', 'acme'], { env });
  expect({ code, server }).toEqual({ code: 0, server: null });
  expect(gateway).toMatchObject({ endpoints: ['etcd:2379'], service: { tenant: 'acme' } });
  const help = await run(['gateway', '--help']);
  expect(help).toMatchObject({ code: 0, gateway: null });
  expect(help.out).toContain('--endpoints VALUE');
  expect(help.out).toContain('conclave gateway --endpoints');
  const wrong = await run(['gateway', '--data-dir=x']);
  expect(wrong).toMatchObject({ code: 2, gateway: null });
  expect(wrong.err).toMatch(/^error: unknown option --data-dir/);
});

test('a wrong server flag is a usage error, and no server is started', async () => {
  const { code, err, server } = await run(['server', '--cert-file=x']);
  expect({ code, server }).toEqual({ code: 2, server: null });
  expect(err).toMatch(/^error: --cert-file and --key-file are needed together/);
});

test('a cluster that is not there is told in one line', async () => {
  const { code, err } = await run(['--endpoints', '127.0.0.1:1', 'kv', 'get', 'k']);
  expect(code).toBe(1);
  expect(err).toBe(
    'error: cannot connect to 127.0.0.1:1\nIs the cluster running? --endpoints says where it is.\n',
  );
});
