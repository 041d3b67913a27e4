import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import { skipWithoutEtcdctl } from '../support/etcdctl.ts';
import { eventually } from '../support/eventually.ts';
import { blocksOf, GuideShell } from '../support/guide.ts';
import { skipWithoutOpenssl } from '../support/openssl.ts';
import { repositoryRoot } from '../support/repository-root.ts';

const TUTORIAL = 'docs/tutorial.md';
/** Those that go on where the tutorial has started the cluster, one after another. */
const GUIDES = ['modelling', 'integration', 'change-procedure', 'feature-flags', 'troubleshooting'].map(
  (name) => `docs/${name}.md`,
);

const hasCurl = spawnSync('curl', ['--version']).status === 0;
const skip = process.env['CI'] !== 'true' && (skipWithoutEtcdctl || skipWithoutOpenssl || !hasCurl);
/** Of the members, as `npm start` has them unless it is told otherwise. */
const PORTS = { client: [2379, 22379, 32379], peer: [2380, 22380, 32380], http: [8080, 8081, 8082] };

/** Some eighty commands, each a process: on a busy machine more than a test has. */
const MANY_COMMANDS_MS = 900_000;

let shell: GuideShell;
beforeEach(async () => {
  // Debian's own: Debian's packages are its.
  shell = new GuideShell({ python3: '/usr/bin/python3' });
  await checkOut(shell);
});
afterEach(async () => {
  await stopCluster();
  await shell.close();
});

describe.skipIf(skip)(
  'what the guides say (needs Debian etcd-client, python3-grpcio, openssl and curl)',
  () => {
    test(
      'the tutorial, from its first command to its last',
      async () => {
        expect(await shell.run(TUTORIAL)).toBeGreaterThan(15);
      },
      MANY_COMMANDS_MS,
    );

    test(
      'the other guides, in the terminal of the tutorial',
      async () => {
        const text = readFileSync(join(repositoryRoot(), TUTORIAL), 'utf8');
        const started = text.slice(0, text.indexOf('\n## Set values')).split('\n').length;
        expect(await shell.run(TUTORIAL, { chosen: ({ line }) => line < started })).toBe(2);
        for (const guide of GUIDES) expect(await shell.run(guide), guide).toBeGreaterThan(5);
      },
      MANY_COMMANDS_MS,
    );
  },
);

test.each([TUTORIAL, ...GUIDES])('%s has no commands that are not run', (guide) => {
  for (const { language, line } of blocksOf(readFileSync(join(repositoryRoot(), guide), 'utf8'))) {
    expect(['sh', 'sh fails', 'text', 'text elsewhere'], `line ${line}`).toContain(language);
  }
});

/** Makes the shell's directory look like a checkout that was built. `npm ci` has nothing to do, `npm start` starts it on free ports. */
async function checkOut({ directory }: GuideShell): Promise<void> {
  for (const name of ['dist', 'node_modules', 'package.json', 'proto']) {
    symlinkSync(join(repositoryRoot(), name), join(directory, name));
  }
  const free = await freePorts(9);
  const flags = Object.entries(PORTS).map(([use, inGuide], at) => {
    const ports = free.slice(at * 3, at * 3 + 3);
    for (const [i, port] of ports.entries()) shell.usePort(inGuide[i]!, port);
    return `--${use}-ports=${ports.join()}`;
  });
  const start = `echo $$ >.npm.pid; shift 2; exec node dist/cluster/local.js ${flags.join(' ')} "$@"`;
  const script = `#!/bin/sh\ncase "$1 $2" in "ci ") ;; "start --") ${start} ;; *) exit 1 ;; esac\n`;
  writeFileSync(join(directory, '.bin/npm'), script, { mode: 0o755 });
}

/** The members have process groups of their own: `npm start` is asked to stop, and to stop them. */
async function stopCluster(): Promise<void> {
  const pid = Number(readFileSync(join(shell.directory, '.npm.pid'), { encoding: 'utf8', flag: 'a+' }));
  const runs = (): boolean => {
    try {
      return pid > 0 && process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  if (runs()) process.kill(pid, 'SIGTERM');
  await eventually('the end of the cluster', () => !runs());
}
