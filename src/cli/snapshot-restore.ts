import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { StoreError } from '../lib/errors.ts';
import { offlinePorts } from '../member/offline/ports.ts';
import { type Restored, restoreSnapshot } from '../member/offline/restore.ts';
import { RESTORING_FILE } from '../member/storage/data-dir.ts';
import { parseInitialCluster, parseUrlList } from '../options.ts';
import { naturalNumber, UsageError } from './arguments.ts';
import { fileChunks, fileSizeBytes } from './file-chunks.ts';
import { toJson } from './format.ts';
import type { CliIo } from './io.ts';
import { Progress } from './progress.ts';

/** No client of a cluster sees more revisions than this between a backup and the disaster. */
const BUMP_REVISION_DEFAULT = 1_000_000_000;

interface RestoreFlags {
  readonly dataDir?: string;
  readonly name: string;
  readonly initialCluster?: string;
  readonly initialAdvertisePeerUrls: string;
  readonly initialClusterToken: string;
  readonly bumpRevision: number;
  readonly markCompacted: boolean;
  readonly writeOut: 'simple' | 'json';
}

/** `conclave snapshot restore`: a backup as the data directory of a member of a new cluster. */
export function restoreCommand(parent: Command, io: CliIo): void {
  parent
    .command('restore')
    .description('make the data directory of a member of a new cluster from a backup')
    .argument('<file>')
    .option('--data-dir <dir>', 'directory to make; must not exist or be empty (default: <name>.conclave)')
    .option('--name <name>', 'name of the member', 'default')
    .option('--initial-cluster <members>', 'all members of the new cluster: n1=http://h1:2380,...')
    .option('--initial-advertise-peer-urls <urls>', "this member's peer URLs", 'http://localhost:2380')
    .option('--initial-cluster-token <token>', 'token of the new cluster', 'etcd-cluster')
    .option(
      '--bump-revision <n>',
      'raise the revision by n above that of the backup',
      naturalNumber,
      BUMP_REVISION_DEFAULT,
    )
    .option('--mark-compacted', 'earlier revisions cannot be read any more (the default)', true)
    .option('--no-mark-compacted', 'keep earlier revisions readable')
    .addHelpText(
      'after',
      `
Run it once for every member, with the same FILE and options but --name, --data-dir and
--initial-advertise-peer-urls; then start the members with their usual options.

The new cluster has new ids. Raising the revision and marking earlier ones as compacted makes clients
that had seen more than the backup knows notice it, instead of missing changes.

Example:
  $ conclave snapshot restore backup.db --name n1 --data-dir /var/lib/conclave \\
      --initial-cluster n1=http://h1:2380,n2=http://h2:2380,n3=http://h3:2380 \\
      --initial-advertise-peer-urls http://h1:2380`,
    )
    .action(async (file: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<RestoreFlags>();
      const dataDir = flags.dataDir ?? `${flags.name}.conclave`;
      const restored = await restore(io, { file, dataDir, flags });
      await io.out(
        flags.writeOut === 'json' ? `${toJson({ dataDir, ...restored })}\n` : said(dataDir, restored),
      );
    });
}

function said(dataDir: string, { memberId, clusterId, revision }: Restored): string {
  const ids = `member ${memberId.toString(16)} of the new cluster ${clusterId.toString(16)}`;
  return `Restored ${dataDir}: ${ids}, revision ${revision}\n`;
}

async function restore(
  io: CliIo,
  { file, dataDir, flags }: { readonly file: string; readonly dataDir: string; readonly flags: RestoreFlags },
): Promise<Restored> {
  const members = initialMembers(flags);
  const totalBytes = await fileSizeBytes(file);
  await checkEmpty(dataDir);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  let pass = 0;
  using progress = new Progress(io, { label: 'verifying', totalBytes });
  using writing = new Progress(io, { label: 'restoring', totalBytes });
  const open = (): AsyncIterable<Buffer> => {
    pass += 1;
    if (pass === 1) return fileChunks(file, progress);
    progress.stop();
    return fileChunks(file, writing);
  };
  try {
    return await restoreSnapshot(offlinePorts(dataDir), {
      open,
      name: flags.name,
      initialCluster: members,
      initialClusterToken: flags.initialClusterToken,
      bumpRevision: flags.bumpRevision,
      markCompacted: flags.markCompacted,
    });
  } catch (error) {
    await emptyAgain(dataDir);
    throw error;
  }
}

function initialMembers(flags: RestoreFlags): ReturnType<typeof parseInitialCluster> {
  const peerUrls = parseUrlList(flags.initialAdvertisePeerUrls, '--initial-advertise-peer-urls');
  const text = flags.initialCluster ?? peerUrls.map((url) => `${flags.name}=${url}`).join(',');
  const members = parseInitialCluster(text, '--initial-cluster');
  const own = members.find((member) => member.name === flags.name);
  if (own === undefined)
    throw new UsageError(`--initial-cluster does not name this member (--name ${flags.name})`);
  if ([...own.peerUrls].sort().join() !== [...peerUrls].sort().join()) {
    throw new UsageError(
      `--initial-cluster: ${flags.name} has ${own.peerUrls.join(',')}, but --initial-advertise-peer-urls is ${peerUrls.join(',')}`,
    );
  }
  return members;
}

/** A mounted volume exists and may hold this directory of the file system's own. */
const IGNORED_NAME = 'lost+found';

async function checkEmpty(dataDir: string): Promise<void> {
  const names = await readdir(dataDir).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  if (names.includes(RESTORING_FILE)) {
    const unfinished = `${dataDir} holds a restore that did not finish; remove it and restore again`;
    throw new StoreError('data-dir-exists', unfinished);
  }
  if (names.some((name) => name !== IGNORED_NAME)) {
    throw new StoreError('data-dir-exists', `${dataDir} is not empty; restore into a new directory`);
  }
}

/** The mark goes last: killed in between, the directory still passes for neither a member's nor an empty one. */
async function emptyAgain(dataDir: string): Promise<void> {
  const names = (await readdir(dataDir)).filter((name) => name !== RESTORING_FILE);
  for (const name of [...names, RESTORING_FILE]) {
    if (name !== IGNORED_NAME) await rm(join(dataDir, name), { recursive: true, force: true });
  }
}
