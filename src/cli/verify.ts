import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { offlinePorts } from '../member/offline/ports.ts';
import { type DataDirectoryReport, verifyDataDirectory } from '../member/offline/verify.ts';
import { startsIn } from '../member/storage/data-dir.ts';
import { UsageError } from './arguments.ts';
import { formatBytes, toJson } from './format.ts';
import type { CliIo } from './io.ts';

/** Verification that takes longer says that it goes on. */
const NOTICE_AFTER_MS = 1000;

/** `conclave verify`: is the data of a stopped member whole? */
export function verifyCommand(parent: Command, io: CliIo): void {
  parent
    .command('verify')
    .description(
      'check the data directory of a member that does not run: every checksum, and what belongs together',
    )
    .argument('<data-dir>')
    .addHelpText(
      'after',
      '\nFails when a member must not run on the data.\n\nExample:\n  $ conclave verify .data/n1',
    )
    .action(async (dataDir: string, _flags: unknown, command: Command) => {
      const { writeOut } = command.optsWithGlobals<{ readonly writeOut: string }>();
      const found = await stat(dataDir);
      if (!found.isDirectory()) throw new UsageError(`${dataDir} is not a directory`);
      const notice = setTimeout(() => io.err(`verifying ${dataDir} ...\n`), NOTICE_AFTER_MS);
      const report = await verifyDataDirectory(offlinePorts(dataDir)).finally(() => clearTimeout(notice));
      await io.out(writeOut === 'json' ? `${toJson(fields(report))}\n` : lines(report));
      if (report.problems.length > 0) throw new Error(`${dataDir} is not whole`);
    });
}

function lines({ identity, log, state, problems }: DataDirectoryReport): string {
  const found: string[] = [];
  if (identity !== null) {
    const { name, memberId, clusterId, incarnation } = identity;
    found.push(
      `member    ${name} (${memberId.toString(16)}) of cluster ${clusterId.toString(16)}, started ${startsIn(incarnation)} times`,
    );
  }
  if (log !== null) {
    const { recovered, segments, torn } = log;
    const last = recovered.entries.at(-1)?.index ?? recovered.compacted.index;
    const sizeBytes = segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
    const { term, commit } = recovered.hardState;
    found.push(
      `log       entries ${recovered.compacted.index + 1} to ${last}, term ${term}, committed ${commit}`,
    );
    found.push(
      `          ${segments.length} segments, ${formatBytes(sizeBytes)}, last record ${recovered.lastSeq}`,
    );
    if (torn)
      found.push('          its last record is torn; the next start cuts it and asks the other members');
  }
  if (state !== null) {
    const { marker, name, keys, leases, memberCount } = state;
    found.push(
      `state     ${name}: entries applied up to ${marker.appliedIndex}, ${memberCount} members, ${leases} leases`,
    );
    found.push(`          revision ${marker.currentRevision}, ${keys} keys, ${marker.rowCount} rows`);
  }
  const verdict =
    problems.length === 0 ? ['everything is whole'] : problems.map((problem) => `PROBLEM   ${problem}`);
  return `${[...found, ...verdict].join('\n')}\n`;
}

function fields({ identity, log, state, problems }: DataDirectoryReport): Record<string, unknown> {
  return {
    identity,
    log: log && {
      firstIndex: log.recovered.compacted.index + 1,
      lastIndex: log.recovered.entries.at(-1)?.index ?? log.recovered.compacted.index,
      hardState: log.recovered.hardState,
      segments: log.segments.length,
      lastSeq: log.recovered.lastSeq,
      torn: log.torn,
    },
    state: state && {
      name: state.name,
      appliedIndex: state.marker.appliedIndex,
      revision: state.marker.currentRevision,
      compactRevision: Math.max(state.marker.compactRevision, 0),
      keys: state.keys,
      rows: state.marker.rowCount,
      leases: state.leases,
      members: state.memberCount,
    },
    problems,
  };
}
