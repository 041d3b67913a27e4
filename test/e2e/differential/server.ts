import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../../cluster/free-ports.ts';
import { SERVER_FLAGS } from '../../../src/option-flags.ts';
import { Cluster } from '../../support/cluster.ts';
import { eventually } from '../../support/eventually.ts';

/** A cluster of one member, ready for clients. */
export interface Server {
  readonly name: 'etcd' | 'conclave';
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** What it logged last, for a report. */
  log(): string;
  destroy(): Promise<void>;
}

/** Where a real etcd is: `ETCD_BIN`, else the one on the path; null where there is none. */
export function etcdBinary(): string | null {
  const named = process.env['ETCD_BIN'];
  if (named !== undefined && named !== '') return existsSync(named) ? named : null;
  return spawnSync('etcd', ['--version']).status === 0 ? 'etcd' : null;
}

/** Hashing a password is made as cheap as etcd allows: it is not what is compared. */
const BCRYPT_COST = 4;
const TAKES_BCRYPT_COST = SERVER_FLAGS.some(({ name }) => name === 'bcrypt-cost');
const LOG_BYTES_KEPT = 8_192;

export async function startEtcd(binary: string): Promise<Server> {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-etcd-'));
  const [client, peer] = await freePorts(2);
  const clientUrl = `http://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const child = spawn(
    binary,
    [
      '--name=n1',
      `--data-dir=${join(directory, 'n1')}`,
      `--listen-client-urls=${clientUrl}`,
      `--advertise-client-urls=${clientUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=n1=${peerUrl}`,
      `--bcrypt-cost=${BCRYPT_COST}`,
      '--logger=zap',
      '--log-level=error',
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let log = '';
  const keep = (chunk: Buffer): void => {
    log = (log + chunk.toString()).slice(-LOG_BYTES_KEPT);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const destroy = async (): Promise<void> => {
    await end(child);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await eventually('etcd is healthy', () => healthy(child, clientUrl));
  } catch (error) {
    await destroy();
    throw new Error(`etcd did not start:\n${log}`, { cause: error });
  }
  return { name: 'etcd', clientUrl, peerUrl, log: () => log, destroy };
}

export async function startConclave(): Promise<Server> {
  const cluster = await Cluster.create(1, TAKES_BCRYPT_COST ? [`--bcrypt-cost=${BCRYPT_COST}`] : []);
  await cluster.startAll().catch(async (error: unknown) => {
    await cluster.destroy();
    throw error;
  });
  const { clientUrl, peerUrl, process: server } = cluster.members[0]!;
  return {
    name: 'conclave',
    clientUrl,
    peerUrl,
    log: () => server?.log ?? '',
    destroy: () => cluster.destroy(),
  };
}

async function healthy(child: ChildProcess, clientUrl: string): Promise<boolean> {
  if (child.exitCode !== null) throw new Error(`etcd ended with ${child.exitCode}`);
  const answer = await fetch(`${clientUrl}/health`);
  return ((await answer.json()) as { readonly health?: string }).health === 'true';
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
