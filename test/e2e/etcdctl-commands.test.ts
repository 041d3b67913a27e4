import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CertificateFiles, TestAuthority } from '../support/certificates.ts';
import { Cluster, type ClusterMember } from '../support/cluster.ts';
import { run, skipWithoutEtcdctl } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';
import { leaderOf } from '../support/leader.ts';

/** For each test, on a machine that is busy. */
const LIMIT = { timeout: 90_000 };
const ENV = { ETCDCTL_API: '3' };

/** Work on files, or print something of etcdctl's own: no server hears of them. */
const OFFLINE = [
  'completion bash',
  'completion fish',
  'completion powershell',
  'completion zsh',
  'help',
  'migrate',
  'snapshot restore',
  'snapshot status',
  'version',
];
/** A minute of writing, with all its flags. */
const IN_ETCDCTL_TEST = ['check perf'];
/** Flags that change what etcdctl itself does, or that need a name service. */
const NOT_FOR_THE_SERVER = [
  'data-dir',
  'debug',
  'discovery-srv',
  'discovery-srv-name',
  'help',
  'insecure-discovery',
];

/** Commands and flags that were used, as etcdctl names them. */
const used = new Map<string, Set<string>>();

function note(words: readonly string[]): void {
  const flags = words.flatMap((word) => /^--?([a-z-]+)/.exec(word)?.[1] ?? []);
  // The words of the command itself: those before the first that is a value.
  const plain = words.filter((word) => !word.startsWith('-'));
  const name = [plain.slice(0, 2).join(' '), plain[0] ?? ''].find((known) => COMMANDS.has(known)) ?? '';
  expect(name, words.join(' ')).not.toBe('');
  const noted = used.get(name) ?? new Set();
  for (const flag of flags) noted.add(LONG[flag] ?? flag);
  used.set(name, noted);
}

const LONG: Readonly<Record<string, string>> = { w: 'write-out', i: 'interactive', l: 'listen' };
const COMMANDS = new Set<string>();

async function helpOf(...words: readonly string[]): Promise<string> {
  return (await run('etcdctl', [...words, '--help'], ENV)).stdout;
}

function flagsIn(help: string, section: string): readonly string[] {
  const text = new RegExp(`^${section}:\\n((?:.+\\n|\\n(?! *[A-Z]+))*)`, 'm').exec(help)?.[1] ?? '';
  return [...text.matchAll(/^ +(?:-\w, )?--([a-z-]+)/gm)].map(([, flag]) => flag!);
}

/** The whole of Debian's etcdctl: the last test finds what of it the others have not used. */
describe.skipIf(skipWithoutEtcdctl)(
  'every command and flag of etcdctl (needs Debian etcd-client)',
  LIMIT,
  () => {
    let cluster: Cluster;

    async function ctl(words: readonly string[], input = '', endpoints = cluster.endpoints) {
      note(words);
      return run('etcdctl', ['--endpoints', endpoints, ...words], ENV, input);
    }
    async function ok(words: readonly string[], input = '', endpoints = cluster.endpoints): Promise<string> {
      const { code, stdout, stderr } = await ctl(words, input, endpoints);
      expect(code, `${words.join(' ')}: ${stderr}`).toBe(0);
      return stdout;
    }
    const words = (text: string): readonly string[] => text.split(' ');

    /** A command that goes on by itself, with the lines that it prints, but for empty ones. */
    function background(text: string, input = '') {
      note(words(text));
      const child = spawn('etcdctl', ['--endpoints', cluster.endpoints, ...words(text)], {
        env: { ...process.env, ...ENV },
      });
      const lines: string[] = [];
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line !== '') lines.push(line);
      });
      child.stdin.on('error', () => {});
      child.stdin.write(input);
      const exited = once(child, 'exit');
      return {
        lines,
        stop: async (signal: NodeJS.Signals = 'SIGTERM') => {
          if (child.exitCode === null && child.signalCode === null) child.kill(signal);
          child.stdin.end();
          await exited;
        },
      };
    }

    async function revision(): Promise<number> {
      const answer = await ok(words('get none -w json'));
      return (JSON.parse(answer) as { header: { revision: number } }).header.revision;
    }

    beforeAll(async () => {
      for (const [, name] of (await helpOf()).matchAll(/^\t([a-z-]+(?: [a-z-]+)?)\t+\w/gm))
        COMMANDS.add(name!);
      expect(COMMANDS.size).toBeGreaterThan(40);
      cluster = await Cluster.start(3, ['--bcrypt-cost=4']);
    });
    afterAll(async () => {
      await cluster.destroy();
    });

    test('put, get and del with every flag', async () => {
      const lease = /lease (\w+)/.exec(await ok(words('lease grant 600')))![1]!;
      expect(await ok(words('put a/1 one'))).toBe('OK\n');
      expect(await ok(['put', 'a/2'], 'from standard input')).toBe('OK\n');
      await ok(['put', 'a/3', 'three', `--lease=${lease}`]);
      expect(await ok(words('put a/1 uno --prev-kv'))).toBe('OK\na/1\none\n');
      await ok(words('put a/3 drei --ignore-lease'));
      await ok(['put', 'a/1', '--ignore-value', `--lease=${lease}`]);
      expect((await ctl(words('put nothing --ignore-value'))).stderr).toContain('etcdserver: key not found');
      const first = await revision();
      await ok(words('put a/2 two'));

      expect(await ok(words('get a/1 --consistency=s'))).toBe('a/1\nuno\n');
      expect(await ok(words('get a/1 --consistency=l --hex'))).toBe('\\x61\\x2f\\x31\n\\x75\\x6e\\x6f\n');
      expect(await ok(['get', 'a/2', `--rev=${first}`, '--print-value-only'])).toBe('from standard input\n');
      expect(await ok(words('get a/ --prefix --keys-only'))).toBe('a/1\n\na/2\n\na/3\n\n');
      expect(await ok(words('get a/2 --from-key --limit=1 --print-value-only'))).toBe('two\n');
      const order = async (by: string, way: string): Promise<string> => {
        const answer = await ok([
          'get',
          'a/',
          '--prefix',
          '--keys-only',
          `--sort-by=${by}`,
          `--order=${way}`,
        ]);
        return answer.replace(/[^\d]/g, '');
      };
      expect(await order('CREATE', 'DESCEND')).toBe('321');
      expect(await order('KEY', 'ASCEND')).toBe('123');
      expect(await order('MODIFY', 'ASCEND')).toBe('312');
      expect(await order('VERSION', 'DESCEND')).toBe('123');
      expect(await order('VALUE', 'ASCEND')).toBe('321');
      for (const [form, text] of [
        ['fields', '"Value" : "uno"'],
        ['json', '"value":"dW5v"'],
        ['simple', 'a/1\nuno\n'],
        ['protobuf', 'uno'],
      ] as const) {
        expect(await ok(['get', 'a/1', '-w', form])).toContain(text);
      }

      expect(await ok(words('del a/2 --prev-kv'))).toBe('1\na/2\ntwo\n');
      expect(await ok(words('del a/1 a/2'))).toBe('1\n');
      expect(await ok(words('del a/ --prefix'))).toBe('1\n');
      await ok(words('put z 1'));
      expect(await ok(words('del z --from-key'))).toBe('1\n');
    });

    test('txn, also interactive; watch, also interactive; compaction', async () => {
      const begun = await revision();
      await ok(words('put t 1'));
      const body = 'mod("t") > "0"\nver("t") = "1"\n\nput t 2\nget t\ndel none\n\nput t 3\n\n';
      expect(await ok(['txn'], body)).toBe('SUCCESS\n\nOK\n\nt\n2\n\n0\n');
      const asked = await ok(words('txn -i'), body);
      expect(asked).toContain('compares:');
      expect(asked).toContain('FAILURE\n\nOK\n');
      expect(await ok(words('get t --print-value-only'))).toBe('3\n');

      const history = background(`watch t --prefix --rev=${begun + 1} --prev-kv`);
      await eventually('the history', () => history.lines.length >= 13);
      expect(history.lines).toEqual(['PUT', 't', '1', 'PUT', 't', '1', 't', '2', 'PUT', 't', '2', 't', '3']);
      await history.stop();
      const several = background('watch -i', `watch t --rev=${begun + 1}\nwatch --prefix t/\nprogress\n`);
      await eventually('the first watch', () => several.lines.filter((line) => line === 'PUT').length === 3);
      await eventually('the second watch', async () => {
        await ok(words('put t/x seen'));
        return several.lines.includes('seen');
      });
      await several.stop();
      const now = await revision();
      expect(await ok(['compaction', String(now - 1)])).toBe(`compacted revision ${now - 1}\n`);
      expect(await ok(['compaction', '--physical', String(now)])).toBe(`compacted revision ${now}\n`);
    });

    test('leases: grant, timetolive, keep-alive, list, revoke', async () => {
      const id = /lease (\w+) granted with TTL\(600s\)/.exec(await ok(words('lease grant 600')))![1]!;
      await ok(['put', 'leased', 'x', '--lease', id]);
      expect(await ok(['lease', 'timetolive', id, '--keys'])).toMatch(
        /granted with TTL\(600s\), remaining\(\d+s\), attached keys\(\[leased\]\)/,
      );
      expect(await ok(['lease', 'keep-alive', id, '--once'])).toContain('keepalived with TTL(600)');
      const kept = background(`lease keep-alive ${id}`);
      await eventually('a renewal', () => kept.lines.some((line) => line.includes('keepalived')));
      await kept.stop();
      expect(await ok(words('lease list'))).toContain(id);
      expect(await ok(['lease', 'revoke', id])).toContain('revoked');
      expect(await ok(['lease', 'timetolive', id])).toContain('already expired');
      expect(await ok(words('get leased'))).toBe('');
    });

    test('lock and elect exclude each other, and hand on', async () => {
      const [first, second] = [background('lock door --ttl=5'), background('lock door')];
      await eventually('one holder', () => first.lines.length + second.lines.length === 1);
      const [holder, waiting] = first.lines.length === 1 ? [first, second] : [second, first];
      expect(await ok(words('get door --prefix --keys-only'))).toContain(holder.lines[0]);
      await holder.stop();
      await eventually('the next', () => waiting.lines.length === 1);
      await waiting.stop();
      expect(await ok(['lock', 'door', 'echo', 'held'])).toBe('held\n');

      const leader = background('elect seat one');
      await eventually('the election', () => leader.lines.includes('one'));
      const observer = background('elect --listen seat');
      await eventually('the observation', () => observer.lines.includes('one'));
      const other = background('elect seat two');
      await leader.stop();
      await eventually('the next', () => other.lines.includes('two') && observer.lines.includes('two'));
      await other.stop();
      await observer.stop();
    });

    test('endpoint health, status and hashkv, in every form; defrag; alarms', async () => {
      for (const form of ['simple', 'table', 'json', 'fields']) {
        const health = await ctl(['endpoint', 'health', '-w', form]);
        expect(health.code, health.stderr).toBe(0);
        // This etcdctl tells of health without a form on the other stream.
        expect(`${health.stdout}${health.stderr}`).toMatch(/healthy|"Health" : true|"health":true|HEALTH/);
        const status = await ok(['endpoint', 'status', '-w', form]);
        expect(status).toContain('3.6.0');
        const hashes = await ok(['endpoint', 'hashkv', '-w', form]);
        expect(hashes.toLowerCase()).toMatch(/hash|127\.0\.0\.1/);
      }
      const table = await ok(words('endpoint status -w table'));
      expect(table.match(/ true | false /g)).toHaveLength(6);
      const fields = await ok(words('endpoint status -w fields'));
      expect(fields.match(/"Leader" : [1-9]/g)).toHaveLength(3);
      const at = await revision();
      const hashes = JSON.parse(await ok(['endpoint', 'hashkv', `--rev=${at}`, '-w', 'json'])) as {
        readonly HashKV: { readonly hash: number };
      }[];
      expect(new Set(hashes.map(({ HashKV }) => HashKV.hash)).size).toBe(1);
      const one = cluster.members[0]!.clientUrl;
      expect((await ok(words('defrag --cluster'), '', one)).match(/Finished defragmenting/g)).toHaveLength(3);
      expect(await ok(words('alarm list'))).toBe('');
      expect(await ok(words('alarm disarm'))).toBe('');
    });

    test('check datascale reads how much memory 10,000 keys take, and tidies up', async () => {
      const one = cluster.members[0]!.clientUrl;
      const flags = ['--load=s', '--prefix=scale/', '--auto-compact', '--auto-defrag'];
      const text = await ok(['check', 'datascale', ...flags, '--command-timeout=30s'], '', one);
      expect(text).toContain('PASS: Approximate system memory used');
      expect(await ok(words('get scale/ --prefix --keys-only'), '', one)).toBe('');
    });

    test('members: list, add, update, promote, remove; leadership moved', async () => {
      const one = cluster.members[0]!.clientUrl;
      expect(await ok(words('member list'))).toMatch(/started, n1, http/);
      expect(await ok(words('member list -w table'))).toMatch(/\| started \| +n2 \|/);
      const place = await cluster.addPlace('n4');
      const spare = await cluster.addPlace('spare');
      cluster.members.pop();
      try {
        const added = await ok(['member', 'add', 'n4', '--learner', `--peer-urls=${spare.peerUrl}`], '', one);
        const id = /Member +(\w+) added/.exec(added)![1]!;
        await ok(['member', 'update', id, `--peer-urls=${place.peerUrl}`], '', one);
        expect(await ok(words('member list'), '', one)).toContain(place.peerUrl);
        const early = await ctl(['member', 'promote', id], '', one);
        expect(early.stderr).toContain('can only promote a learner member which is in sync with leader');
        await cluster.launch(place, { state: 'existing' }).ready();
        await eventually(
          'the promotion',
          async () => (await ctl(['member', 'promote', id], '', one)).code === 0,
        );
        expect(await ok(['member', 'remove', id], '', one)).toContain('removed from cluster');
      } finally {
        await place.process?.stop('SIGKILL');
        cluster.members.pop();
      }
      const before = await leaderOf(cluster);
      const next = cluster.members.find((member) => member !== before)!;
      const line = (await ok(words('member list')))
        .split('\n')
        .find((text) => text.includes(next.clientUrl))!;
      expect(await ok(['move-leader', line.split(',')[0]!], '', before.clientUrl)).toContain('transferred');
      expect((await leaderOf(cluster)).name).toBe(next.name);
    });

    test('a snapshot is saved; make-mirror copies a prefix to another, and to the root', async () => {
      const file = join(cluster.directory, 'saved.db');
      expect(await ok(['snapshot', 'save', file], '', cluster.members[0]!.clientUrl)).toContain(
        'Snapshot saved',
      );
      expect((await stat(file)).size).toBeGreaterThan(100);

      for (const key of ['from/a', 'from/b', 'elsewhere']) await ok(['put', key, 'x']);
      const copy = await Cluster.start(1);
      try {
        const [{ clientUrl }] = copy.members as [ClusterMember];
        const target = new URL(clientUrl).host;
        const keys = async (): Promise<string> =>
          (await ok(['get', '', '--from-key', '--keys-only'], '', clientUrl)).trim().split(/\s+/).join(' ');
        const moved = background(`make-mirror ${target} --prefix=from/ --dest-prefix=to/`);
        await eventually('the copy', async () => (await keys()) === 'to/a to/b');
        await ok(words('put from/c x'));
        await ok(words('del from/a'));
        await eventually('the changes', async () => (await keys()) === 'to/b to/c');
        await moved.stop('SIGKILL');
        await ok(words('del to/ --prefix'), '', clientUrl);
        const bare = background(`make-mirror ${target} --prefix=from/ --no-dest-prefix`);
        await eventually('the copy without a prefix', async () => (await keys()) === 'b c');
        await bare.stop('SIGKILL');
      } finally {
        await copy.destroy();
      }
    });

    test('TLS, in both directions of a mirror', async () => {
      const authority = new TestAuthority('clients');
      using files = new CertificateFiles();
      const server = files.writePair('server', authority.issue('server'));
      const mine = files.writePair('mine', authority.issue('mine'));
      const ca = files.write('ca.pem', authority.cert);
      const flags = [`--cert-file=${server.cert}`, `--key-file=${server.key}`, `--trusted-ca-file=${ca}`];
      const secure = await Cluster.create(1, flags);
      try {
        const [member] = secure.members as [ClusterMember];
        const url = member.clientUrl.replace('http:', 'https:');
        await secure.launch(member, { clientUrls: [url] }).ready();
        const shown = [`--cert=${mine.cert}`, `--key=${mine.key}`];
        const tls = [`--cacert=${ca}`, ...shown, '--insecure-transport=false'];
        const times = [
          '--dial-timeout=5s',
          '--command-timeout=10s',
          '--keepalive-time=1s',
          '--keepalive-timeout=3s',
        ];
        await ok(['put', 'k', 'v', ...tls, ...times], '', url);
        expect(await ok(['get', 'k', '--insecure-skip-tls-verify', ...shown], '', url)).toBe('k\nv\n');
        const refused = await ctl(['get', 'k', `--cacert=${ca}`, '--command-timeout=2s'], '', url);
        expect(refused.code).not.toBe(0);

        await ok(words('put tls/there x'));
        const destination = `--dest-cacert=${ca} --dest-cert=${mine.cert} --dest-key=${mine.key}`;
        const mirror = background(
          `make-mirror ${new URL(url).host} --prefix=tls/ --dest-insecure-transport=false ${destination}`,
        );
        await eventually('the copy', async () => (await ok(['get', 'tls/there', ...tls], '', url)) !== '');
        await mirror.stop('SIGKILL');
      } finally {
        await secure.destroy();
      }
    });

    test('users, roles and authentication, with every flag', async () => {
      await ok(words('user add root --new-user-password=r00t'));
      await ok(words('user add u --interactive=false'), 'pw\n');
      await ok(words('user add c --no-password'));
      await ok(words('user add gone:pw'));
      expect(await ok(words('user delete gone'))).toBe('User gone deleted\n');
      expect(await ok(words('user list'))).toBe('c\nroot\nu\n');
      await ok(words('user grant-role root root'));
      await ok(words('role add r'));
      await ok(words('role add gone'));
      expect(await ok(words('role delete gone'))).toBe('Role gone deleted\n');
      expect(await ok(words('role list'))).toBe('r\n');
      await ok(words('role grant-permission r readwrite p/ --prefix'));
      await ok(words('role grant-permission r read q --from-key'));
      await ok(words('role grant-permission r write one'));
      await ok(words('user grant-role u r'));
      expect(await ok(words('user get u'))).toBe('User: u\nRoles: r\n');
      expect(await ok(words('user get u --detail'))).toContain(
        'KV Read:\n\t[p/, p0) (prefix p/)\n\t[q, <open ended>',
      );
      expect(await ok(words('role get r'))).toContain('KV Write:\n\tone\n\t[p/, p0) (prefix p/)\n');
      expect(await ok(words('auth enable'))).toBe('Authentication Enabled\n');
      const root = ['--user=root', '--password=r00t'];
      try {
        expect((await ctl(words('get p/1'))).stderr).toContain('user name is empty');
        await ok(words('put p/1 x --user=u:pw'));
        expect(await ok(words('get q --from-key --keys-only --user=u:pw'))).toBeDefined();
        expect((await ctl(words('get one --user=u:pw'))).stderr).toContain('permission denied');
        await ok(['role', 'revoke-permission', 'r', 'p/', '--prefix', ...root]);
        await ok(['role', 'revoke-permission', 'r', 'q', '--from-key', ...root]);
        await ok(['role', 'revoke-permission', 'r', 'one', ...root]);
        expect((await ctl(words('put p/1 x --user=u:pw'))).stderr).toContain('permission denied');
        await ok(['user', 'passwd', 'u', '--interactive=false', ...root], 'pw2\n');
        expect((await ctl(words('user get u --user=u:pw'))).stderr).toContain('authentication failed');
        expect(await ok(words('user get u --user=u:pw2'))).toBe('User: u\nRoles: r\n');
        await ok(['user', 'revoke-role', 'u', 'r', ...root]);
      } finally {
        expect(await ok(['auth', 'disable', ...root])).toBe('Authentication Disabled\n');
      }
    });

    test('nothing is left untried', async () => {
      const tried = [...used.keys(), ...OFFLINE, ...IN_ETCDCTL_TEST].sort();
      expect(tried).toEqual([...COMMANDS].sort());
      const globals = flagsIn(await helpOf('get'), 'GLOBAL OPTIONS');
      expect(globals).toContain('user');
      const all = new Set([...used.values()].flatMap((flags) => [...flags]));
      const missing = globals.filter((flag) => !all.has(flag) && !NOT_FOR_THE_SERVER.includes(flag));
      for (const [name, flags] of used) {
        const own = flagsIn(await helpOf(...name.split(' ')), 'OPTIONS');
        for (const flag of own) {
          if (!flags.has(flag) && !NOT_FOR_THE_SERVER.includes(flag)) missing.push(`${name} --${flag}`);
        }
      }
      // The endpoints are given with every command.
      expect(missing).toEqual(['endpoints']);
    });
  },
);
