import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import {
  LocalCluster,
  LocalClusterError,
  type LocalClusterOptions,
  type LocalMember,
} from '../../cluster/local-cluster.ts';
import { eventually } from '../support/eventually.ts';

/**
 * The launcher is tried with a small program in the place of a member: it takes the same flags, listens, answers
 * /readyz and ends on SIGTERM. The real member is started by the process tests.
 */
const STAND_IN = `
const http = require('node:http');
const flags = Object.fromEntries(process.argv.slice(2).filter((w) => w.startsWith('--')).map((w) => w.slice(2).split(/=(.*)/s)));
console.log(JSON.stringify({ argv: process.argv.slice(2), pool: process.env.UV_THREADPOOL_SIZE, name: process.env.CONCLAVE_NAME }));
if (process.env.FAILING_MEMBER === flags.name) { console.error('the disk is on fire'); process.exit(3); }
let asked = 0;
const server = http.createServer((request, response) => {
  asked += 1;
  console.log('asked', asked);
  response.statusCode = asked < 3 || process.env.UNREADY_MEMBER === flags.name ? 503 : 200;
  response.end('[-]no leader\\n');
});
server.listen(Number(new URL(flags['listen-http-urls']).port), '127.0.0.1');
process.on('SIGTERM', () => { console.log('handed over'); process.exit(0); });
`;

let directory: string;
let members: readonly LocalMember[];
const clusters: LocalCluster[] = [];
const ends: string[] = [];
let heardOfEnd: () => void = () => {};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-local-'));
  await writeFile(join(directory, 'stand-in.cjs'), STAND_IN);
  const ports = await freePorts(9);
  members = [0, 1, 2].map((at) => ({
    name: `n${at + 1}`,
    clientPort: ports[at]!,
    peerPort: ports[at + 3]!,
    httpPort: ports[at + 6]!,
  }));
  ends.length = 0;
});
afterEach(async () => {
  for (const name of ['FAILING_MEMBER', 'UNREADY_MEMBER', 'CONCLAVE_NAME']) delete process.env[name];
  for (const cluster of clusters.splice(0)) await cluster.stop();
  await rm(directory, { recursive: true });
});

function newCluster(more: Partial<LocalClusterOptions> = {}): LocalCluster {
  const cluster = new LocalCluster({
    members,
    dataDir: join(directory, 'data'),
    program: [join(directory, 'stand-in.cjs')],
    onMemberEnd: (name, how) => {
      ends.push(`${name}: ${how}`);
      heardOfEnd();
    },
    ...more,
  });
  clusters.push(cluster);
  return cluster;
}

const patient = (): AbortSignal => AbortSignal.timeout(60_000);
const logOf = async (name: string): Promise<string> =>
  readFile(join(directory, 'data', `${name}.log`), 'utf8');

test('three members start with their own flags and a common cluster, and stop when asked', async () => {
  process.env['CONCLAVE_NAME'] = 'not-theirs';
  const cluster = newCluster();
  await cluster.start(patient());
  expect(cluster.runningCount).toBe(3);
  await cluster.stop();
  expect(cluster.runningCount).toBe(0);
  expect(ends).toEqual([]);
  const log = await logOf('n2');
  const first = JSON.parse(log.split('\n')[0]!) as { argv: string[]; pool: string; name?: string };
  expect(first.pool).toBe('16');
  expect(first.name).toBeUndefined();
  expect(first.argv[0]).toBe('server');
  const url = (port: number): string => `http://127.0.0.1:${port}`;
  expect(first.argv).toEqual(
    expect.arrayContaining([
      '--name=n2',
      `--data-dir=${join(directory, 'data', 'n2')}`,
      `--listen-client-urls=${url(members[1]!.clientPort)}`,
      `--initial-cluster=${members.map(({ name, peerPort }) => `${name}=${url(peerPort)}`).join(',')}`,
    ]),
  );
  expect(log).toContain('handed over');
});

test('a member that joins is admitted when the others are ready, and peers are told of what stands in between', async () => {
  const [founder, proxied, comer] = members as [LocalMember, LocalMember, LocalMember];
  const admitted: (readonly [string, number])[] = [];
  const cluster = newCluster({
    members: [
      founder,
      { ...comer, joins: true, flags: ['--region=c'] },
      { ...proxied, advertisedPeerPort: 9_999 },
    ],
    admit: async ({ name }) => {
      admitted.push([name, cluster.runningCount]);
    },
  });
  await cluster.start(patient());
  expect(admitted).toEqual([['n3', 2]]);
  const argvOf = async (name: string): Promise<readonly string[]> =>
    (JSON.parse((await logOf(name)).split('\n')[0]!) as { argv: string[] }).argv;
  const founders = `n1=http://127.0.0.1:${founder.peerPort},n2=http://127.0.0.1:9999`;
  expect(await argvOf('n2')).toEqual(
    expect.arrayContaining([
      `--listen-peer-urls=http://127.0.0.1:${proxied.peerPort}`,
      '--initial-advertise-peer-urls=http://127.0.0.1:9999',
      `--initial-cluster=${founders}`,
      '--initial-cluster-state=new',
    ]),
  );
  expect(await argvOf('n3')).toEqual(
    expect.arrayContaining([
      `--initial-cluster=${founders},n3=http://127.0.0.1:${comer.peerPort}`,
      '--initial-cluster-state=existing',
      '--region=c',
    ]),
  );
});

test('a taken port is named with its use, and nothing is started', async () => {
  const other = createServer().listen(members[1]!.peerPort, '127.0.0.1');
  await once(other, 'listening');
  const cluster = newCluster();
  await expect(cluster.start(patient())).rejects.toThrow(
    `port ${members[1]!.peerPort} (peer port of n2) is in use`,
  );
  expect(cluster.processIds.size).toBe(0);
  other.close();
});

test('a member that fails to start stops the others, and its last words are shown', async () => {
  process.env['FAILING_MEMBER'] = 'n3';
  const cluster = newCluster();
  const failure = await cluster.start(patient()).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(LocalClusterError);
  expect((failure as Error).message).toMatch(/n3 ended \(exit code 3\)[^]*the disk is on fire/);
  expect(cluster.runningCount).toBe(0);
});

test('a member that is never ready is named with its reason', async () => {
  process.env['UNREADY_MEMBER'] = 'n1';
  const patience = new AbortController();
  const outcome = expect(newCluster().start(patience.signal)).rejects.toThrow(
    'n1 is not ready: [-]no leader',
  );
  // It would have been ready by then.
  await eventually('the question', async () => (await logOf('n1')).includes('asked 5'));
  patience.abort();
  await outcome;
});

test('a member that dies later is reported, the others go on', async () => {
  const cluster = newCluster();
  await cluster.start(patient());
  const told = new Promise<void>((resolve) => {
    heardOfEnd = resolve;
  });
  process.kill(cluster.processIds.get('n2')!, 'SIGKILL');
  await told;
  expect(ends).toEqual(['n2: signal SIGKILL']);
  expect([...cluster.processIds.keys()]).toEqual(['n1', 'n3']);
});
