import { setTimeout as delay } from 'node:timers/promises';
import type { Prng } from '../core/raft/prng.ts';
import { makeCrashImage } from './crash-image.ts';
import { type ArenaMember, CLIENTS, eventually, type FaultArena } from './fault-arena.ts';
import type { Observer } from './observers.ts';
import type { Workload } from './workload.ts';

/** What a fault is done to. */
export interface FaultContext {
  readonly arena: FaultArena;
  readonly workload: Workload;
  /** Has heard of everything so far: what lies behind it may be compacted away. */
  readonly everything: Observer;
  readonly random: Prng;
}

/** What processes and the network between them are. */
export type ArenaContext = Pick<FaultContext, 'arena' | 'random'>;

/**
 * Does one fault, holds it for a while and mostly undoes it; what is left, `FaultArena.repair` undoes. What is done
 * follows the generator alone, except that the role of leader falls to whoever has it.
 *
 * @returns what was done, for people
 */
export type Fault = (context: FaultContext) => Promise<string>;

/** Those of processes and of the network between them, whatever runs there. */
export const ARENA_FAULTS = {
  'kill-leader': async (context) => killed(context, [await context.arena.leader()]),
  'kill-one': async (context) => killed(context, [context.random.pick(context.arena.members)]),
  'kill-majority': async (context) => killed(context, some(context, context.arena.majority)),
  'kill-all': async (context) => killed(context, context.arena.members),
  'stop-leader': stopLeader,
  'pause-leader': async (context) => paused(context, [await context.arena.leader()]),
  'pause-one': async (context) => paused(context, [context.random.pick(context.arena.members)]),
  'pause-majority': async (context) => paused(context, some(context, context.arena.majority)),
  'isolate-leader': async (context) => isolated(context, await context.arena.leader()),
  'isolate-one': async (context) => isolated(context, context.random.pick(context.arena.members)),
} as const satisfies Readonly<Record<string, (context: ArenaContext) => Promise<string>>>;

/** By name: which runs have which faults stands in the test. */
export const FAULTS = {
  ...ARENA_FAULTS,
  'isolate-all': isolateAll,
  'split-in-two': splitInTwo,
  'mute-leader': async (context) => mute(context, await context.arena.leader()),
  'deaf-leader': async (context) => deaf(context, await context.arena.leader()),
  'one-way-cuts': oneWayCuts,
  bridge: bridge,
  'slow-links': slowLinks,
  'narrow-link': narrowLink,
  'lag-behind': lagBehind,
  'reset-connections': resetConnections,
  'reset-clients': resetClients,
  storm: storm,
  'full-disk': fullDisk,
  'crash-image': async (context) => crashImage(context, [context.random.pick(context.arena.members)]),
  'crash-image-of-all': async (context) => crashImage(context, context.arena.members),
  'old-copy': oldCopy,
  compaction: compaction,
  'replace-member': replaceMember,
  'move-member': moveMember,
} as const satisfies Readonly<Record<string, Fault>>;
export type FaultName = keyof typeof FAULTS;

/** Faults last between these: from below an election timeout to several. */
const HOLD_MS = { min: 200, max: 2_500 };
const RESETS = 25;
const RESET_PAUSE_MS = 40;
/** Files of a member that runs are longer, or soon will be. */
const FILE_BYTES_MAX = 256 * 1024;
const STORM_STEPS = 20;
const STORM_PAUSE_MS = 250;
const BACK_IN_TIME = 'its data directory has gone back in time';

/** How long a fault lasts is a part of the schedule, not a wait for something to happen. */
function hold({ random }: ArenaContext): Promise<void> {
  return delay(HOLD_MS.min + random.below(HOLD_MS.max - HOLD_MS.min));
}

function some({ arena, random }: ArenaContext, count: number): readonly ArenaMember[] {
  const left = [...arena.members];
  return Array.from({ length: count }, () => left.splice(random.below(left.length), 1)[0]!);
}

function namesOf(members: readonly ArenaMember[]): string {
  return members.map((member) => member.name).join(' ');
}

// ---- processes ----------------------------------------------------------------------------------------------

async function killed(context: ArenaContext, targets: readonly ArenaMember[]): Promise<string> {
  const { arena } = context;
  const victims = [...targets];
  await Promise.all(victims.map((member) => arena.kill(member)));
  await hold(context);
  for (const member of victims) arena.launch(member);
  await Promise.all(victims.map((member) => member.started));
  return `killed ${namesOf(victims)}`;
}

async function stopLeader({ arena }: ArenaContext): Promise<string> {
  const leader = await arena.leader();
  const code = await leader.process?.stop('SIGTERM');
  if (code !== 0) throw new Error(`${leader.name} was asked to stop and ended with ${code}`);
  await arena.launch(leader).ready();
  return `stopped ${leader.name}`;
}

async function paused(context: ArenaContext, targets: readonly ArenaMember[]): Promise<string> {
  for (const member of targets) context.arena.pause(member);
  await hold(context);
  for (const member of targets) context.arena.resume(member);
  return `paused ${namesOf(targets)}`;
}

// ---- network ------------------------------------------------------------------------------------------------

async function isolated(context: ArenaContext, member: ArenaMember): Promise<string> {
  const { network } = context.arena;
  const others = context.arena.names.filter((name) => name !== member.name);
  network.partition([member.name], others);
  await hold(context);
  network.heal();
  return `isolated ${member.name}`;
}

async function isolateAll(context: FaultContext): Promise<string> {
  const { network, names } = context.arena;
  network.partition(...names.map((name) => [name]));
  await hold(context);
  network.heal();
  return 'isolated everybody';
}

async function splitInTwo(context: FaultContext): Promise<string> {
  const { arena } = context;
  const minority = some(context, 1 + context.random.below(arena.members.length - arena.majority)).map(
    (member) => member.name,
  );
  const rest = arena.names.filter((name) => !minority.includes(name));
  arena.network.partition(minority, rest);
  await hold(context);
  arena.network.heal();
  return `split ${minority.join(' ')} | ${rest.join(' ')}`;
}

/** It hears the others, and thinks all is well; they do not hear it. */
async function mute(context: FaultContext, member: ArenaMember): Promise<string> {
  const { network, names } = context.arena;
  network.cut(...names.filter((to) => to !== member.name).map((to) => ({ from: member.name, to })));
  await hold(context);
  network.heal();
  return `cut what ${member.name} sends`;
}

/** The others hear it and follow it; it does not hear them. */
async function deaf(context: FaultContext, member: ArenaMember): Promise<string> {
  const { network, names } = context.arena;
  network.cut(...names.filter((from) => from !== member.name).map((from) => ({ from, to: member.name })));
  await hold(context);
  network.heal();
  return `cut what ${member.name} hears`;
}

async function oneWayCuts(context: FaultContext): Promise<string> {
  const { random } = context;
  const { network, names } = context.arena;
  const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => ({ from, to })));
  const cuts = pairs.filter(() => random.chance(35));
  network.cut(...cuts);
  await hold(context);
  network.heal();
  return `cut ${cuts.map(({ from, to }) => `${from}>${to}`).join(' ')}`;
}

/** Two halves that only one member in the middle talks to both of. */
async function bridge(context: FaultContext): Promise<string> {
  const { arena } = context;
  const order = some(context, arena.members.length).map((member) => member.name);
  const middle = order[0]!;
  const half = Math.ceil((order.length - 1) / 2);
  const left = order.slice(1, 1 + half);
  const right = order.slice(1 + half);
  arena.network.partition(left, right);
  await hold(context);
  arena.network.heal();
  return `split ${left.join(' ')} | ${right.join(' ')}, ${middle} talks to both`;
}

async function slowLinks(context: FaultContext): Promise<string> {
  const { arena, random } = context;
  const delayMs = 5 + random.below(60);
  arena.network.shapeAll({ delayMs, jitterMs: delayMs });
  await hold(context);
  await hold(context);
  arena.network.clear();
  return `delayed everything by ${delayMs} to ${2 * delayMs} ms`;
}

async function narrowLink(context: FaultContext): Promise<string> {
  const { arena, random } = context;
  const { name } = random.pick(arena.members);
  const bytesPerSecond = 10_000 + random.below(150_000);
  for (const other of arena.names.filter((candidate) => candidate !== name)) {
    arena.network.shape({ from: other, to: name }, { bytesPerSecond });
  }
  await hold(context);
  await hold(context);
  arena.network.clear();
  return `let ${bytesPerSecond} bytes/s through to ${name}`;
}

/** Away for so long that the log it needs is gone; back on a slow link, so that it takes a snapshot over that. */
async function lagBehind(context: FaultContext): Promise<string> {
  const { arena, workload } = context;
  const leader = await arena.leader();
  const laggard = context.random.pick(arena.members.filter((member) => member !== leader));
  const { name, process } = laggard;
  arena.network.isolate(name);
  const others = arena.members.filter((member) => member !== laggard);
  // A cut keeps what is sent into it, and would hand it over at its end: without connections nothing is sent.
  for (const other of others) {
    arena.network.reset({ from: name, to: other.name });
    arena.network.reset({ from: other.name, to: name });
  }
  // Whatever the laggard has received stands in the log below this write.
  await workload.acknowledgements(1);
  const reached = Math.max(...(await Promise.all(others.map((member) => arena.commitIndex(member)))));
  await eventually('every other log is cut', async () => {
    const first = await Promise.all(others.map((member) => arena.logFirstIndex(member)));
    return first.every((index) => index > reached + 1) || null;
  });
  arena.network.heal();
  arena.network.shapeAll({ delayMs: 10, bytesPerSecond: 2_000_000 });
  await process?.logged('received a snapshot');
  await workload.acknowledgements(1);
  arena.network.clear();
  return `${name} fell behind and took a snapshot`;
}

async function resetConnections(context: FaultContext): Promise<string> {
  const { arena, random } = context;
  let count = 0;
  for (let i = 0; i < RESETS; i++) {
    const [from, to] = some(context, 2);
    count += arena.network.reset({ from: from!.name, to: to!.name });
    await delay(random.below(RESET_PAUSE_MS));
  }
  return `reset ${count} connections between members`;
}

/** Answers get lost after the fact, which is what makes outcomes unknown. */
async function resetClients(context: FaultContext): Promise<string> {
  const { arena, random } = context;
  let count = 0;
  for (let i = 0; i < RESETS; i++) {
    const to = random.pick(arena.members).name;
    arena.network.cut({ from: to, to: CLIENTS });
    await delay(random.below(RESET_PAUSE_MS));
    count += arena.network.reset({ from: CLIENTS, to });
    arena.network.heal();
    await delay(random.below(RESET_PAUSE_MS));
  }
  return `lost the answers on ${count} client connections`;
}

/** Everything at once: members die, start, stand still and lose each other in any order. */
async function storm({ arena, random }: FaultContext): Promise<string> {
  const { network } = arena;
  const steps: Readonly<Record<string, (member: ArenaMember, other: string) => unknown>> = {
    kill: async (member) => arena.kill(member),
    start: (member) => {
      if (member.process?.running !== true) arena.launch(member);
    },
    pause: (member) => arena.pause(member),
    resume: (member) => arena.resume(member),
    cut: ({ name }, other) => network.cut({ from: name, to: other }),
    isolate: ({ name }) => network.isolate(name),
    heal: () => network.heal(),
    reset: ({ name }, other) => network.reset({ from: name, to: other }),
    slow: ({ name }, other) => network.shape({ from: name, to: other }, { delayMs: 50, jitterMs: 50 }),
  };
  const done: string[] = [];
  for (let i = 0; i < STORM_STEPS; i++) {
    const name = random.pick(Object.keys(steps));
    const member = random.pick(arena.members);
    const other = random.pick(arena.names.filter((candidate) => candidate !== member.name));
    await steps[name]!(member, other);
    done.push(`${name} ${member.name}`);
    await delay(random.below(STORM_PAUSE_MS));
  }
  return done.join(', ');
}

// ---- disks --------------------------------------------------------------------------------------------------

/** A member that cannot write must end at once, and be whole when there is room again. */
async function fullDisk(context: FaultContext): Promise<string> {
  const { arena, random } = context;
  const member = random.pick(arena.members);
  const { process } = member;
  const bytes = random.below(FILE_BYTES_MAX);
  await arena.limitFiles(member, bytes);
  await hold(context);
  // Whatever it had left to grow into is gone too.
  if (process?.running === true) await arena.limitFiles(member, 0).catch(() => {});
  const code = await process?.exit();
  if (code !== 1 || !process?.log.includes('"code":"storage"')) {
    throw new Error(`${member.name} met a full disk and ended with ${code}:\n${process?.log}`);
  }
  await arena.launch(member).ready();
  return `${member.name} could write no file beyond ${bytes} bytes`;
}

/** Several at once is a power cut of the whole site. */
async function crashImage(context: FaultContext, targets: readonly ArenaMember[]): Promise<string> {
  const { arena, random } = context;
  const victims = [...targets];
  await Promise.all(victims.map((member) => arena.kill(member)));
  let stateBytesLost = 0;
  for (const member of victims) {
    member.dataDir = await arena.copyData(member, `${member.name}-image-${random.below(2 ** 30)}`);
    stateBytesLost += (await makeCrashImage(member.dataDir, random)).stateBytesLost;
  }
  for (const member of victims) arena.launch(member);
  await Promise.all(victims.map(async (member) => member.process?.logged('a torn log record was cut')));
  await Promise.all(victims.map((member) => member.started));
  return `crash images of ${namesOf(victims)}, without ${stateBytesLost} bytes of their states`;
}

/** A member put back on an earlier copy of its data has forgotten what it acknowledged: its peers must not let it in. */
async function oldCopy({ arena, workload, random }: FaultContext): Promise<string> {
  const member = random.pick(arena.members);
  await arena.kill(member);
  const dataDir = await arena.copyData(member, `${member.name}-copy-${random.below(2 ** 30)}`);
  await arena.launch(member).ready();
  await workload.acknowledgements(1);
  await arena.kill(member);
  const current = member.dataDir;
  member.dataDir = dataDir;
  const old = arena.launch(member);
  const peers = arena.members.filter((other) => other !== member);
  const letIn = old.ready().then(() => {
    throw new Error(`${member.name} was let in on data of the past`);
  });
  await Promise.race([letIn, ...peers.map((peer) => peer.process!.logged(BACK_IN_TIME))]);
  await arena.kill(member);
  member.dataDir = current;
  await arena.launch(member).ready();
  return `${member.name} was put back in time, and refused`;
}

// ---- operations ---------------------------------------------------------------------------------------------

async function compaction(context: FaultContext): Promise<string> {
  const { everything, random, workload } = context;
  const revision = Math.max(2, everything.revision - random.below(50));
  await eventually('compacting', async () => {
    const outcome = await workload.perform({ type: 'compact', revision });
    // An attempt whose answer was lost may have done it.
    return (
      outcome.type === 'answered' || (outcome.type === 'refused' && outcome.code === 'compacted') || null
    );
  });
  return `compacted up to ${revision}`;
}

/** A new member joins as a learner and becomes a voter; an old one, leader or not, leaves. */
async function replaceMember(context: FaultContext): Promise<string> {
  const { arena, workload, random } = context;
  const leaver = random.pick(arena.members);
  const comer = await arena.addLearner();
  await arena.administer('promoting a learner', async (client) => {
    const { members } = await client.memberList();
    const entry = members.find((member) => member.peerUrls.includes(comer.peerUrl))!;
    if (entry.isLearner) await client.memberPromote(entry.id);
  });
  await arena.administer('removing a member', async (client) => {
    const { members } = await client.memberList();
    const entry = members.find((member) => member.peerUrls.includes(leaver.peerUrl));
    if (entry !== undefined) await client.memberRemove(entry.id);
  });
  workload.redirect({ from: leaver.workloadUrl, to: comer.workloadUrl });
  // It learns of its removal and ends by itself.
  await leaver.process?.exit();
  arena.forget(leaver);
  return `${comer.name} took the place of ${leaver.name}`;
}

/** A member gets another address for its peers, as the guide has it; another one may be down meanwhile. */
async function moveMember(context: FaultContext): Promise<string> {
  const { arena, random } = context;
  const [mover, other] = some(context, 2) as [ArenaMember, ArenaMember];
  const away = random.chance(50) ? other : null;
  if (away !== null) await arena.kill(away);
  const address = await arena.newPeerAddress(mover);
  await arena.administer('updating a member', async (client) => {
    const { members } = await client.memberList();
    const entry = members.find((member) => member.peerUrls.includes(mover.peerUrl));
    if (entry !== undefined) await client.memberUpdate({ id: entry.id, peerUrls: [address.peerUrl] });
  });
  await arena.kill(mover);
  Object.assign(mover, address);
  await arena.launch(mover).ready();
  if (away === null) return `${mover.name} moved`;
  await arena.launch(away).ready();
  return `${mover.name} moved while ${away.name} was down`;
}
