import type { Command } from 'commander';
import type { CallOptions, KvClient } from '../client/kv-client.ts';
import type { RoundTrip, StatusAnswer } from '../client/types.ts';
import { type Context, withContext } from './context.ts';
import { formatBytes, formatId, formatMs, formatTable } from './format.ts';
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
    .description('show every endpoint: where it is, who leads, how far each one is, what is wrong')
    .option('--cluster', 'ask all members of the cluster, not only the endpoints given')
    .addHelpText(
      'after',
      `
LAG is how many entries an endpoint has applied fewer than the leader, when that is among them.
ROUND TRIPS are those that an endpoint measures to the other members; AGE is how old its state
may be, when it can say.

Fails when an endpoint does not answer or reports an error.

Examples:
  $ conclave status --endpoints localhost:2379,localhost:22379,localhost:32379
  $ conclave status --cluster --write-out json`,
    )
    .action(async (flags: { readonly cluster?: boolean }, command: Command) => {
      await withContext(io, command, async (context) => {
        const { reports, names } = flags.cluster ? await askCluster(context) : await askEndpoints(context);
        await context.print({
          lines: () => reportTable(reports, names),
          fields: () => reports.map((report) => reportFields(report, reports)),
        });
        const bad = reports.filter((report) => 'failure' in report || report.status.errors.length > 0);
        if (bad.length > 0) throw new Error(`${bad.length} of ${reports.length} endpoints are not well`);
      });
    });
}

interface Asked {
  readonly reports: readonly Report[];
  /** What members are called, as far as that was asked. */
  readonly names: ReadonlyMap<bigint, string>;
}

async function askEndpoints({ client, call }: Context): Promise<Asked> {
  return { reports: await ask(client, call), names: new Map() };
}

async function askCluster({ client, call }: Context): Promise<Asked> {
  const { members } = await client.memberList(call);
  const endpoints = members.flatMap((member) => member.clientUrls.slice(0, 1));
  using everyone = client.at(endpoints);
  return { reports: await ask(everyone, call), names: new Map(members.map(({ id, name }) => [id, name])) };
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

const HEADINGS = [
  'ENDPOINT',
  'ID',
  'VERSION',
  'DB SIZE',
  'ROLE',
  'TERM',
  'INDEX',
  'APPLIED',
  'REGION',
  'LAG',
  'ROUND TRIPS',
  'AGE',
  'ERRORS',
];

function reportTable(reports: readonly Report[], names: Asked['names']): string {
  return formatTable(
    HEADINGS,
    reports.map((report) => {
      if ('failure' in report) {
        return [report.endpoint, ...HEADINGS.slice(1, -1).map(() => '-'), report.failure];
      }
      const { endpoint, status } = report;
      const lag = lagOf(status, reports);
      return [
        endpoint,
        formatId(status.header.memberId),
        status.version,
        formatBytes(status.dbSizeBytes),
        roleOf(status),
        String(status.raftTerm),
        String(status.raftIndex),
        String(status.raftAppliedIndex),
        status.region ?? '-',
        lag === null ? '-' : String(lag),
        roundTripsText(status.roundTrips, names),
        status.ageMs === undefined ? '-' : formatMs(status.ageMs),
        status.errors.join('; '),
      ];
    }),
  );
}

/** What it has applied less than the leader; null unless the leader was asked, too. */
function lagOf({ leader, raftAppliedIndex }: StatusAnswer, reports: readonly Report[]): number | null {
  for (const report of reports) {
    if ('failure' in report || report.status.header.memberId !== leader) continue;
    return Math.max(0, report.status.raftAppliedIndex - raftAppliedIndex);
  }
  return null;
}

function roundTripsText(roundTrips: readonly RoundTrip[], names: Asked['names']): string {
  if (roundTrips.length === 0) return '-';
  return roundTrips
    .map(({ memberId, micros }) => `${names.get(memberId) || formatId(memberId)} ${formatMs(micros / 1_000)}`)
    .join(', ');
}

function roleOf(status: StatusAnswer): string {
  if (status.isLearner) return 'learner';
  return status.leader === status.header.memberId ? 'leader' : 'follower';
}

function reportFields(report: Report, reports: readonly Report[]): Record<string, unknown> {
  if ('failure' in report) return { Endpoint: report.endpoint, Error: report.failure };
  const { endpoint, status } = report;
  const { region, roundTrips, ageMs } = status;
  const lag = lagOf(status, reports);
  return {
    Endpoint: endpoint,
    ...(lag !== null && { Lag: lag }),
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
      ...(region !== undefined && { region }),
      ...(roundTrips.length > 0 && {
        roundTrips: roundTrips.map(({ memberId, micros }) => ({ memberID: memberId, micros })),
      }),
      ...(ageMs !== undefined && { ageMs }),
    },
  };
}
