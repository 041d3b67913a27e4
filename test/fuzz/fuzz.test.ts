import { afterAll, describe, expect, test } from 'vitest';
import { CORE_TARGETS } from './core-targets.ts';
import { FILE_TARGETS } from './file-targets.ts';
import { type FuzzReport, fuzz } from './fuzz.ts';
import { GATEWAY_TARGETS } from './gateway-targets.ts';
import { LOG_TARGETS } from './log-targets.ts';
import { OPTION_TARGETS } from './option-targets.ts';
import { RPC_TARGETS } from './rpc-targets.ts';
import { STATE_TARGETS } from './state-targets.ts';
import { TRANSPORT_TARGETS } from './transport-targets.ts';

/** More and other inputs: `FUZZ_ROUNDS=100000 FUZZ_SEED=7 npx vitest run --project unit test/fuzz`. */
const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 500);
const SEED = Number(process.env['FUZZ_SEED'] ?? 1);

const GROUPS = {
  core: CORE_TARGETS,
  log: LOG_TARGETS,
  state: STATE_TARGETS,
  files: FILE_TARGETS,
  transport: TRANSPORT_TARGETS,
  rpc: RPC_TARGETS,
  gateway: GATEWAY_TARGETS,
  options: OPTION_TARGETS,
};

const reports = new Map<string, FuzzReport>();

describe.each(Object.entries(GROUPS))('%s', (_, targets) => {
  test.each(targets.map((target) => [target.name, target] as const))(
    '%s',
    { timeout: 0 },
    async (name, target) => {
      const report = await fuzz(target, { seed: SEED, rounds: ROUNDS });
      reports.set(name, report);
      expect(report.executions).toBeGreaterThan(0);
    },
  );
});

afterAll(() => {
  const lines = [...reports].map(([name, { executions, accepted, slowestMs, totalMs }]) =>
    [
      name.padEnd(44),
      `${executions}`.padStart(9),
      `${accepted}`.padStart(9),
      slowestMs.toFixed(1).padStart(9),
      totalMs.toFixed(0).padStart(9),
    ].join(''),
  );
  const head = [`seed ${SEED}`.padEnd(44), 'executed', 'accepted', 'slowest ms', 'ms'].join('  ');
  process.stdout.write(`${[head, ...lines].join('\n')}\n`);
});
