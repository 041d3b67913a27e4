import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { type CommandResult, run } from './etcdctl.ts';

/** Debian's own Python, for Debian's package is its. */
const PYTHON = '/usr/bin/python3';
const SCENARIOS = join(import.meta.dirname, '../e2e/python/scenarios.py');

/** Debian's python3-etcd3. Tests that need it skip where it is missing, but not in CI, where it must be there. */
const isThere = spawnSync(PYTHON, ['-c', 'import etcd3']).status === 0;
export const skipWithoutPythonEtcd3 = !isThere && process.env['CI'] !== 'true';

/** Runs one scenario to its end; never rejects for an exit code. */
export function pythonScenario(name: string, settings: object): Promise<CommandResult> {
  return run(PYTHON, [SCENARIOS, name, JSON.stringify(settings)], { PYTHONDONTWRITEBYTECODE: '1' });
}
