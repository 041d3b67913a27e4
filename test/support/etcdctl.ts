import { execFile, spawnSync } from 'node:child_process';

/** Debian's etcd-client. Tests that need it skip where it is missing, but not in CI, where it must be there. */
export const hasEtcdctl = spawnSync('etcdctl', ['version']).status === 0;

/** Whether a suite that needs etcdctl must be left out here, with the reason in its title. */
export const skipWithoutEtcdctl = !hasEtcdctl && process.env['CI'] !== 'true';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs etcdctl to its end; never rejects for an exit code. */
export function etcdctl(endpoints: string, ...args: readonly string[]): Promise<CommandResult> {
  return run('etcdctl', ['--endpoints', endpoints, ...args], { ETCDCTL_API: '3' });
}

/** Longer than etcdctl waits by itself, 2 s for a connection with its sign-in: a busy machine may need more. */
export const ETCDCTL_PATIENCE: readonly string[] = ['--dial-timeout=20s', '--command-timeout=20s'];

/** @param args a flag among them that says how long etcdctl is to wait holds */
export function run(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  input = '',
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      [...(command === 'etcdctl' ? ETCDCTL_PATIENCE : []), ...args],
      { env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, stdout, stderr });
      },
    );
    // A command that takes no input may have ended before it is given: its code says how.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
