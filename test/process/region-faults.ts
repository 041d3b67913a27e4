import { readFile } from 'node:fs/promises';
import type { Direction } from '../../cluster/wan-proxy.ts';
import type { Silence } from '../linearizability/ages.ts';
import { type AgedReads, ANY_AGE_MS } from './aged-reads.ts';
import { type ArenaMember, eventually } from './fault-arena.ts';
import { otherRegions, type RegionArena, regionOf } from './region-arena.ts';
import type { Workload } from './workload.ts';

/** What a fault is done to. */
export interface RegionContext {
  readonly regions: RegionArena;
  readonly workload: Workload;
  readonly agedReads: AgedReads;
  /** Told of the times in which a member surely hears of nothing that proves freshness. */
  readonly silence: (silence: Silence) => void;
}

/** Does one fault, sees that it has come about and undoes it. @returns what was done, for people */
export type RegionFault = (context: RegionContext) => Promise<string>;

export const REGION_FAULTS = {
  'cut-c': async (context) => cutOff(context, 'c'),
  'cut-leader-region': async (context) => cutOff(context, await context.regions.leaderRegion()),
  'lose-leader-region': loseLeaderRegion,
  'crawling-link': crawl,
  'c-does-not-hear': async (context) =>
    oneWay(
      context,
      otherRegions('c').map((from) => ({ from, to: 'c' })),
    ),
  'c-is-not-heard': async (context) =>
    oneWay(
      context,
      otherRegions('c').map((to) => ({ from: 'c', to })),
    ),
  'pause-learner': async (context) => pause(context, context.regions.learner),
  'pause-voter': async (context) => pause(context, context.regions.arena.member('n5')),
} as const satisfies Readonly<Record<string, RegionFault>>;
export type RegionFaultName = keyof typeof REGION_FAULTS;

/** Acknowledged while a fault lasts: there is something that who is cut off does not know. */
const WRITES = 20;
/** Ages grow at least so far before a fault is undone: well above what they are without one. */
const AGE_MS = 1_500;
/** A proof of freshness from now. */
const FRESH_MS = 500;
const CRAWL_BYTES_PER_SECOND = 4_000;
/** Reads that wait in a member's sockets while it stands still. */
const WAITING_READS = 5;
/** Whether a member answers before it has heard the news is a race; it cannot lose so often. */
const PAUSES_MAX = 20;

/** A region without links; the others write on, or do so again. */
async function cutOff(context: RegionContext, region: string): Promise<string> {
  const { regions, workload, silence } = context;
  const { network } = regions.arena;
  network.partition([region], otherRegions(region));
  const fromMs = performance.now();
  await workload.acknowledgements(WRITES);
  await grownOld(context, region);
  const toMs = performance.now();
  network.heal();
  // The leader knows by itself what it commits; whether a quorum still follows it, nobody told it either.
  for (const { name } of regions.in(region)) silence({ member: name, fromMs, toMs });
  await freshAgain(context, region);
  return `cut off ${region}`;
}

/** All of a region's processes die at once. */
async function loseLeaderRegion(context: RegionContext): Promise<string> {
  const { regions, workload } = context;
  const { arena } = regions;
  const region = await regions.leaderRegion();
  const lost = regions.in(region);
  await Promise.all(lost.map((member) => arena.kill(member)));
  await workload.acknowledgements(WRITES);
  const successor = await arena.leader();
  if (lost.includes(successor)) throw new Error(`${successor.name} is dead and leads`);
  for (const member of lost) arena.launch(member);
  await Promise.all(lost.map((member) => member.started));
  await freshAgain(context, region);
  return `lost ${region} (${lost.map(({ name }) => name).join(' ')}), ${successor.name} took over`;
}

/** So little passes to and from c that whatever is sent queues up; no quorum needs those links. */
async function crawl(context: RegionContext): Promise<string> {
  const { regions, workload } = context;
  const { network } = regions.arena;
  const conditions = { bytesPerSecond: CRAWL_BYTES_PER_SECOND };
  for (const other of otherRegions('c')) {
    network.shape({ from: other, to: 'c' }, conditions);
    network.shape({ from: 'c', to: other }, conditions);
  }
  await workload.acknowledgements(WRITES);
  await grownOld(context, 'c');
  await workload.acknowledgements(WRITES);
  await regions.mend();
  await freshAgain(context, 'c');
  return `let ${CRAWL_BYTES_PER_SECOND} bytes/s through to and from c`;
}

/** c hears nobody, or nobody hears c. Either way no question of its members is answered. */
async function oneWay(context: RegionContext, directions: readonly Direction[]): Promise<string> {
  const { regions, workload, silence } = context;
  const { network } = regions.arena;
  network.cut(...directions);
  const fromMs = performance.now();
  await workload.acknowledgements(WRITES);
  await grownOld(context, 'c');
  const toMs = performance.now();
  network.heal();
  for (const { name } of regions.in('c')) silence({ member: name, fromMs, toMs });
  await freshAgain(context, 'c');
  return `cut ${directions.map(({ from, to }) => `${from} > ${to}`).join(', ')}`;
}

/**
 * A member stands still while others write, and reads wait in its sockets. Again, until it has answered one of them
 * out of what it knew before: then its age has to cover the pause.
 */
async function pause(context: RegionContext, member: ArenaMember): Promise<string> {
  const { regions, agedReads, workload } = context;
  for (let pauses = 1; pauses <= PAUSES_MAX; pauses++) {
    // It has a proof to answer by.
    await freshAgain(context, regionOf(member.name));
    regions.arena.pause(member);
    await stands(member);
    const fromMs = performance.now();
    agedReads.paused(member);
    await workload.acknowledgements(WRITES);
    const waiting = Array.from({ length: WAITING_READS }, () => agedReads.readOf(member, ANY_AGE_MS));
    // One more round of writes: the reads have left this process by now.
    await workload.acknowledgements(WRITES);
    const pausedMs = performance.now() - fromMs;
    agedReads.resumed(member);
    regions.arena.resume(member);
    const answers = await Promise.all(waiting);
    if (answers.some((read) => read !== null && (read.ageMs ?? 0) >= pausedMs)) {
      return `paused ${member.name}, ${pauses} times`;
    }
  }
  throw new Error(`${member.name} never answered by what it knew before it stood still`);
}

/** Resolves when the system says that the process does not run. */
async function stands({ name, process }: ArenaMember): Promise<void> {
  await eventually(`${name} stands still`, async () => {
    const status = await readFile(`/proc/${process!.pid}/stat`, 'utf8');
    return status.slice(status.lastIndexOf(')') + 2).startsWith('T') || null;
  });
}

/** Resolves when every member of the region has told an age above AGE_MS. */
async function grownOld({ regions, agedReads }: RegionContext, region: string): Promise<void> {
  for (const member of regions.in(region)) {
    await eventually(`ages of ${member.name} grow`, async () => {
      const read = await agedReads.readOf(member, ANY_AGE_MS);
      return (read?.ageMs ?? 0) > AGE_MS || null;
    });
  }
}

/** Resolves when every member of the region has kept a bound that only a new proof keeps. */
async function freshAgain({ regions, agedReads }: RegionContext, region: string): Promise<void> {
  for (const member of regions.in(region)) {
    await eventually(`${member.name} is fresh`, async () => {
      const read = await agedReads.readOf(member, FRESH_MS);
      return (read?.ageMs ?? FRESH_MS + 1) <= FRESH_MS || null;
    });
  }
}
