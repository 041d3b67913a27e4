import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem, type } from 'node:os';
import { VERSION } from '../src/lib/version.ts';
import type { MachineRecord } from './records.ts';
import { etcdProgram } from './server-cluster.ts';

const GIB = 1024 ** 3;

/** This machine and the programs on it. @throws Error when etcd or h2load is missing */
export function machine(
  command: string,
  run: { readonly seed: number; readonly scale: number },
): MachineRecord {
  const etcd = execFileSync(etcdProgram(), ['--version'], { encoding: 'utf8' });
  return {
    kind: 'machine',
    startedAt: new Date().toISOString(),
    command,
    processors: cpus().length,
    processor: cpus()[0]?.model ?? 'unknown',
    memoryGib: Math.round(totalmem() / GIB),
    system: `${type()} ${release()}`,
    node: process.version,
    conclave: conclaveVersion(),
    etcd: /etcd Version: (\S+)/.exec(etcd)?.[1] ?? 'unknown',
    h2load: h2load(),
    ...run,
  };
}

function h2load(): string {
  try {
    return execFileSync('h2load', ['--version'], { encoding: 'utf8' }).trim();
  } catch (cause) {
    throw new Error("no h2load: install Debian's nghttp2-client", { cause });
  }
}

/** Of the sources: their version, and their commit where they are a checkout. */
export function conclaveVersion(): string {
  try {
    const described = execFileSync('git', ['describe', '--always', '--dirty'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return `${VERSION} (${described.trim()})`;
  } catch {
    return VERSION;
  }
}
