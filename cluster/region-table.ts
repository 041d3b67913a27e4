import { LEADER_REGIONS, type RoundTrips } from './region-layout.ts';
import { PROBE_STALENESS_MS, type ProbedMember } from './region-probe.ts';
import { READ_KINDS, type ReadKind } from './region-reader.ts';

/** Two lines, so that a row fits 80 columns. */
const HEADINGS = [
  ['', 'region'],
  ['', 'member'],
  ['', 'role'],
  ['client', 'port'],
  ['entries', 'behind'],
  ['linear-', 'izable'],
  ['serial-', 'izable'],
  ['bounded', `${PROBE_STALENESS_MS} ms`],
  ['age', 'told'],
] as const;

/**
 * What the probes found, as lines for a person: who leads, how far each member is, what a read costs there.
 *
 * @param columns of the terminal; what is longer is cut, since a line that is folded by the terminal counts twice
 */
export function regionTable(
  probed: readonly ProbedMember[],
  roundTrips: RoundTrips,
  columns = Number.POSITIVE_INFINITY,
): readonly string[] {
  const leader = leaderAmong(probed);
  const newest = Math.max(0, ...probed.map(({ status }) => status?.appliedIndex ?? 0));
  const rows = probed.map((item) => rowOf(item, { leader, newest }));
  const headings = ([0, 1] as const).map((line) => HEADINGS.map((heading) => heading[line]));
  const trips = [...roundTrips].map(([pair, ms]) => `${pair} ${ms} ms`).join('   ');
  const lines = [
    leaderLine(leader),
    `round trips   ${trips}`,
    '',
    ...aligned([...headings, ...rows]),
    '',
    'reads: median of the last 20, in ms, asked from here of the member itself',
  ];
  return lines.map((line) => (line.length > columns ? `${line.slice(0, columns - 1)}…` : line));
}

/** The one that leads in the newest term anybody leads in. */
function leaderAmong(probed: readonly ProbedMember[]): ProbedMember | null {
  const leading = probed.filter(({ status }) => status !== null && status.leader === status.id);
  return leading.toSorted((left, right) => right.status!.term - left.status!.term)[0] ?? null;
}

function leaderLine(leader: ProbedMember | null): string {
  if (leader === null) return 'nobody leads';
  const { member, status } = leader;
  const preferred = member.region === LEADER_REGIONS[0] ? '' : `; region ${LEADER_REGIONS[0]} is preferred`;
  return `${member.name} in region ${member.region} leads (term ${status!.term}, entry ${status!.appliedIndex})${preferred}`;
}

function rowOf(
  item: ProbedMember,
  { leader, newest }: { readonly leader: ProbedMember | null; readonly newest: number },
): readonly string[] {
  const { member, status, ageMs } = item;
  return [
    member.region,
    member.name,
    status === null ? 'silent' : item === leader ? 'leader' : status.isLearner ? 'learner' : 'follower',
    String(member.clientPort),
    status === null ? '-' : String(newest - status.appliedIndex),
    ...READ_KINDS.map((kind) => latencyText(item, kind)),
    ageMs === null ? '-' : `${ageMs} ms`,
  ];
}

function latencyText({ latenciesMs, failures }: ProbedMember, kind: ReadKind): string {
  const sorted = latenciesMs[kind].toSorted((left, right) => left - right);
  const middle = sorted[Math.floor(sorted.length / 2)];
  return failures[kind] ?? (middle === undefined ? '-' : middle.toFixed(1));
}

/** Columns as wide as their widest cell, figures to the right. */
function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = HEADINGS.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  return rows.map((row) =>
    row
      .map((cell, at) => (at < 3 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join('  ')
      .trimEnd(),
  );
}
