import { spawnSync } from 'node:child_process';

/** A second opinion on what our encoder makes. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

/** Whether a test that needs openssl must be left out here, with the reason in its title; never in CI. */
export const skipWithoutOpenssl = !hasOpenssl && process.env['CI'] !== 'true';

/** @throws Error with what openssl says when it fails */
export function openssl(args: readonly string[], input: string | Buffer): string {
  const { status, stdout, stderr } = spawnSync('openssl', [...args], { input });
  if (status !== 0) throw new Error(String(stderr));
  return String(stdout);
}
