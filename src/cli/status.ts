import type { Command } from 'commander';
import type { CallOptions, KvClient } from '../client/kv-client.ts';
import type { StatusAnswer } from '../client/types.ts';
import { type Context, withContext } from './context.ts';
import { formatBytes, formatId, formatTable } from './format.ts';
import type { CliIo } from './io.ts';
import { headerFields } from './kv-format.ts';

type Report = { readonly endpoint: string } & (
  | { readonly status: StatusAnswer }
  | { readonly failure: string }
);

/** `conclave status`: how each endpoint is, asked one by one. */
export function statusCommand(parent: Command, io: CliIo): void {
  parent
    .command('status')
    .description('show every endpoint: who leads, how far each one is, what is wrong')
    .option('--cluster', 'ask all members of the cluster, not only the endpoints given')
    .addHelpText(
      'after',
      `
Fails when an endpoint does not answer or reports an error.

Examples:
  $ conclave status --endpoints localhost:2379,localhost:22379,localhost:32379
  $ conclave status --cluster --write-out json`,
    )
    .action(async (flags: { readonly cluster?: boolean }, command: Command) => {
      await withContext(io, command, async (context) => {
        const reports = flags.cluster
          ? await clusterReports(context)
          : await ask(context.client, context.call);
        await context.print({ lines: () => reportTable(reports), fields: () => reports.map(reportFields) });
        const bad = reports.filter((report) => 'failure' in report || report.status.errors.length > 0);
        if (bad.length > 0) throw new Error(`${bad.length} of ${reports.length} endpoints are not well`);
      });
    });
}

async function clusterReports({ client, call }: Context): Promise<readonly Report[]> {
  const { members } = await client.memberList(call);
  const endpoints = members.flatMap((member) => member.clientUrls.slice(0, 1));
  using everyone = client.at(endpoints);
  return await ask(everyone, call);
}

async function ask(client: KvClient, call: CallOptions): Promise<readonly Report[]> {
  return Promise.all(
    client.endpoints.map(async (endpoint): Promise<Report> => {
      try {
        return { endpoint, status: await client.status(endpoint, call) };
      } catch (error) {
        return { endpoint, failure: error instanceof Error ? error.message : String(error) };
      }
    }),
  );
}

function reportTable(reports: readonly Report[]): string {
  return formatTable(
    ['ENDPOINT', 'ID', 'VERSION', 'DB SIZE', 'ROLE', 'TERM', 'INDEX', 'APPLIED', 'ERRORS'],
    reports.map((report) => {
      if ('failure' in report) return [report.endpoint, '-', '-', '-', '-', '-', '-', '-', report.failure];
      const { endpoint, status } = report;
      return [
        endpoint,
        formatId(status.header.memberId),
        status.version,
        formatBytes(status.dbSizeBytes),
        roleOf(status),
        String(status.raftTerm),
        String(status.raftIndex),
        String(status.raftAppliedIndex),
        status.errors.join('; '),
      ];
    }),
  );
}

function roleOf(status: StatusAnswer): string {
  if (status.isLearner) return 'learner';
  return status.leader === status.header.memberId ? 'leader' : 'follower';
}

function reportFields(report: Report): Record<string, unknown> {
  if ('failure' in report) return { Endpoint: report.endpoint, Error: report.failure };
  const { endpoint, status } = report;
  return {
    Endpoint: endpoint,
    Status: {
      header: headerFields(status.header),
      version: status.version,
      dbSize: status.dbSizeBytes,
      leader: status.leader,
      raftIndex: status.raftIndex,
      raftTerm: status.raftTerm,
      raftAppliedIndex: status.raftAppliedIndex,
      ...(status.errors.length > 0 && { errors: status.errors }),
      dbSizeInUse: status.dbSizeInUseBytes,
      ...(status.isLearner && { isLearner: true }),
    },
  };
}
