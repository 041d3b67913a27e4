import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KvClient } from '../../src/client/kv-client.ts';
import { Prng } from '../core/raft/prng.ts';
import { repositoryRoot } from '../support/repository-root.ts';
import { CrashControl, type CrashSettings } from './crash-control.ts';
import { pointName, STEP_TABLE, type Tool, type ToolPoint, toolPointsOf } from './crash-steps.ts';
import { type ArenaMember, eventually, FaultArena, within } from './fault-arena.ts';

const MAIN = join(repositoryRoot(), 'dist/src/main.js');
/** The first segment is filled with zeros in one write. */
const SETTINGS: CrashSettings = { firstSegmentBytes: 64 * 1024 };
/** After one in so many ends of a forced start the next start is one without the flag. */
const FORGOTTEN_EVERY = 3;
const KEYS = 300;
const OVERWRITTEN = 60;
const VALUE_BYTES = 400;
const SIZE = 3;
/** One point: a command or a start that ends, and all that follows, on a busy machine. */
const POINT_PATIENCE_MS = 120_000;

/** What came of it. */
export interface ToolRunResult {
  /** What was lost, wrong, or started that must not. */
  readonly violations: readonly string[];
  /** Names of the points that ended a process. */
  readonly hits: ReadonlySet<string>;
  /** The steps that the tool takes when nobody ends it, in order. */
  readonly taken: readonly string[];
}

/** Everything that a store has to give back. */
interface Content {
  readonly revision: number;
  readonly text: string;
}

/**
 * Ends `snapshot restore`, or a start with `--force-new-cluster`, right before and right after every step in which it
 * changes the disk. After each, what is there is either refused or whole, and doing it again succeeds.
 */
export async function hitEveryToolPoint(tool: Tool, seed: number): Promise<ToolRunResult> {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-tools-'));
  const control = await CrashControl.make(join(directory, 'control'), SETTINGS);
  const arena = await FaultArena.prepare({
    size: SIZE,
    random: new Prng(seed),
    variables: () => (armedArena ? control.variables : {}),
  });
  let armedArena = false;
  try {
    for (const member of arena.members) arena.launch(member);
    await Promise.all(arena.members.map((member) => member.started));
    const survivor = arena.members[1]!;
    const backup = join(directory, 'backup.db');
    const content = await fill(arena, { survivor, backup });
    await Promise.all(arena.members.map((member) => arena.kill(member)));
    armedArena = true;
    const run = new ToolRun({ directory, control, arena, survivor, backup, content });
    await (tool === 'restore' ? run.restores() : run.forces());
    return run.result();
  } finally {
    await arena.destroy();
    await rm(directory, { recursive: true, force: true });
  }
}

interface ToolRunParts {
  readonly directory: string;
  readonly control: CrashControl;
  readonly arena: FaultArena;
  readonly survivor: ArenaMember;
  readonly backup: string;
  readonly content: Content;
}

class ToolRun {
  readonly #parts: ToolRunParts;
  readonly #violations: string[] = [];
  readonly #hits = new Set<string>();
  #taken: readonly string[] = [];

  constructor(parts: ToolRunParts) {
    this.#parts = parts;
  }

  result(): ToolRunResult {
    return { violations: this.#violations, hits: this.#hits, taken: this.#taken };
  }

  async restores(): Promise<void> {
    const { directory, control } = this.#parts;
    const whole = join(directory, 'restored');
    await control.change({ ...SETTINGS, journal: true });
    await this.#restore(whole);
    this.#taken = await this.#journal();
    await control.change(SETTINGS);
    await this.#mustServe('a restore that nobody ended', whole);
    for (const point of toolPointsOf('restore'))
      await within(`a restore ends ${pointName(point)}`, this.#endedRestore(point), POINT_PATIENCE_MS);
  }

  async forces(): Promise<void> {
    const { arena, survivor, control } = this.#parts;
    const template = survivor.dataDir;
    await control.change({ journal: true });
    survivor.dataDir = await arena.copyData(survivor, 'forced');
    await this.#mustBeAlone('a forced start that nobody ended');
    const steps = STEP_TABLE.tools['forced start'].length;
    this.#taken = (await this.#journal()).slice(0, steps);
    await control.change({});
    for (const [i, point] of toolPointsOf('forced start').entries()) {
      await rm(survivor.dataDir, { recursive: true });
      survivor.dataDir = template;
      survivor.dataDir = await arena.copyData(survivor, `forced-${i}`);
      await within(`a forced start ends ${pointName(point)}`, this.#endedForce(point), POINT_PATIENCE_MS);
    }
    survivor.dataDir = template;
  }

  // ---- one point --------------------------------------------------------------------------------------------

  /** On what a restore leaves that did not finish no member starts, and no other restore goes on. */
  async #endedRestore(point: ToolPoint): Promise<void> {
    const { directory, control } = this.#parts;
    const what = `after a restore that ended ${pointName(point)}`;
    const dataDir = join(directory, 'half');
    await control.arm(point, { occurrence: point.occurrence, action: 'kill' });
    const ended = await this.#restore(dataDir);
    await control.disarm();
    await this.#noteHit('restore', point, ended.status);
    if (existsSync(join(dataDir, 'IDENTITY')) && !existsSync(join(dataDir, 'RESTORING'))) {
      await this.#mustServe(what, dataDir);
    } else {
      await this.#mustRefuse(what, dataDir, point.when === 'before' ? 'a member' : 'a restore');
    }
    await rm(dataDir, { recursive: true });
  }

  /** What is there is taken for something by neither a member nor another restore. */
  async #mustRefuse(what: string, dataDir: string, comer: 'a member' | 'a restore'): Promise<void> {
    const names = await readdir(dataDir);
    // Nothing but a name that was never given: that is a new member's directory.
    if (comer === 'a member' && names.every((name) => name.endsWith('.tmp'))) return;
    if (names.length === 0) return;
    if (comer === 'a restore') {
      const second = await this.#restore(dataDir);
      if (second.status === 0) this.#violations.push(`${what} another one goes over what is there`);
      return;
    }
    const { arena, survivor } = this.#parts;
    const own = survivor.dataDir;
    survivor.dataDir = dataDir;
    const server = arena.launch(survivor);
    const started = await Promise.race([survivor.started.then(() => true), server.exit().then(() => false)]);
    await arena.kill(survivor);
    survivor.dataDir = own;
    if (started) this.#violations.push(`${what} a member starts on what is there`);
  }

  /** Where it ended, the flag is given once more; now and then it is forgotten first. */
  async #endedForce(point: ToolPoint): Promise<void> {
    const { arena, survivor, control } = this.#parts;
    await control.arm(point, { occurrence: point.occurrence, action: 'kill' });
    const server = arena.launch(survivor, { flags: ['--force-new-cluster'] });
    const status = await server.exit();
    await control.disarm();
    await this.#noteHit('forced start', point, status);
    const what = `after a forced start that ended ${pointName(point)}`;
    if (this.#hits.size % FORGOTTEN_EVERY === 0) {
      // The others are gone, so it need not serve; it must not end.
      const forgotten = arena.launch(survivor);
      await forgotten.logged('"msg":"role"').catch(() => {});
      if (!forgotten.running)
        this.#violations.push(`${what} it does not start: ${forgotten.log.slice(-600)}`);
      await arena.kill(survivor);
    }
    await this.#mustBeAlone(what);
  }

  async #noteHit(tool: Tool, point: ToolPoint, status: number | NodeJS.Signals | null): Promise<void> {
    const hit = (await this.#parts.control.hits()).at(-1);
    if (status !== 'SIGKILL' || hit !== `${point.when} ${point.step}`) {
      throw new Error(`${tool} should end ${pointName(point)}, and ended with ${status} (${hit})`);
    }
    this.#hits.add(pointName(point));
  }

  // ---- what must hold ---------------------------------------------------------------------------------------

  /** A restored directory: a member of its own serves all that the backup holds. */
  async #mustServe(what: string, dataDir: string): Promise<void> {
    const { arena, survivor } = this.#parts;
    const own = survivor.dataDir;
    survivor.dataDir = dataDir;
    try {
      await arena.launch(survivor).ready();
      await this.#compare(what, 'restored');
    } catch (error) {
      this.#violations.push(`${what} no member serves: ${String(error).slice(-1_000)}`);
    }
    await arena.kill(survivor);
    survivor.dataDir = own;
  }

  /** The survivor serves all that was committed, takes writes, and has no other member. */
  async #mustBeAlone(what: string): Promise<void> {
    const { arena, survivor } = this.#parts;
    try {
      await arena.launch(survivor, { flags: ['--force-new-cluster'] }).ready();
      await this.#compare(what, 'forced');
      using client = new KvClient({ endpoints: [survivor.clientUrl] });
      const { members } = await client.memberList();
      if (members.length !== 1) this.#violations.push(`${what} there are ${members.length} members`);
      await client.put({ key: 'after', value: what });
    } catch (error) {
      this.#violations.push(`${what} it does not go on alone: ${String(error).slice(-1_000)}`);
    }
    await arena.kill(survivor);
  }

  /** Restored stores are at a later revision, by intent; what they hold is the same. */
  async #compare(what: string, kind: 'restored' | 'forced'): Promise<void> {
    const { survivor, content } = this.#parts;
    const found = await contentOf(survivor.clientUrl);
    if (found.text !== content.text) this.#violations.push(`${what} the store holds something else`);
    const isRight =
      kind === 'restored' ? found.revision > content.revision : found.revision === content.revision;
    if (!isRight) this.#violations.push(`${what} the revision is ${found.revision}, was ${content.revision}`);
  }

  // ---- parts ------------------------------------------------------------------------------------------------

  async #restore(
    dataDir: string,
  ): Promise<{ readonly status: number | NodeJS.Signals | null; readonly output: string }> {
    const { backup, survivor, control } = this.#parts;
    return conclave(
      [
        'snapshot',
        'restore',
        backup,
        `--data-dir=${dataDir}`,
        `--name=${survivor.name}`,
        `--initial-cluster=${survivor.name}=${survivor.peerUrl}`,
        `--initial-advertise-peer-urls=${survivor.peerUrl}`,
      ],
      control.variables,
    );
  }

  /** The steps that were begun since the last look, in order. */
  async #journal(): Promise<readonly string[]> {
    const { journalPath } = this.#parts.control;
    const lines = (await readFile(journalPath, 'utf8')).split('\n').filter((line) => line !== '');
    await rm(journalPath);
    return lines
      .map((line) => JSON.parse(line) as { readonly id: number; readonly began?: string })
      .filter(({ id, began }) => id > 0 && began !== undefined)
      .map(({ began }) => began!);
  }
}

/** Keys that live, were overwritten or deleted, and a compaction; all of it known to the survivor and in the backup. */
async function fill(
  arena: FaultArena,
  { survivor, backup }: { readonly survivor: ArenaMember; readonly backup: string },
): Promise<Content> {
  using client = new KvClient({ endpoints: arena.members.map((member) => member.clientUrl) });
  const value = Buffer.alloc(VALUE_BYTES, 'v');
  const put = (i: number): Promise<unknown> => client.put({ key: `key/${i}`, value });
  await Promise.all(Array.from({ length: KEYS }, (_, i) => put(i)));
  await Promise.all(Array.from({ length: OVERWRITTEN }, (_, i) => put(i)));
  const { revision } = (await client.delete({ key: 'key/1' })).header;
  await client.compact({ revision: revision - 1, physical: true });
  const content = await contentOf(survivor.clientUrl);
  await eventually('the survivor knows it all', async () => {
    using own = new KvClient({ endpoints: [survivor.clientUrl] });
    const { header } = await own.range({ key: 'key/0', serializable: true });
    return header.revision === content.revision || null;
  });
  const saved = await conclave(['snapshot', 'save', backup, `--endpoints=${survivor.clientUrl}`], {});
  if (saved.status !== 0) throw new Error(`no backup: ${saved.output}`);
  return content;
}

async function contentOf(url: string): Promise<Content> {
  using client = new KvClient({ endpoints: [url] });
  const { header, kvs } = await client.range({ key: 'key/', rangeEnd: 'key0' });
  const text = kvs.map(
    (kv) => `${kv.key.toString()} ${kv.createRevision} ${kv.modRevision} ${kv.version} ${kv.value.length}`,
  );
  return { revision: header.revision, text: text.join('\n') };
}

async function conclave(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ readonly status: number | NodeJS.Signals | null; readonly output: string }> {
  let output = '';
  const child = execFile(process.execPath, [MAIN, ...args], { env: { ...process.env, VERIFY: '1', ...env } });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer | string) => {
      output += chunk.toString();
    });
  }
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { status: code ?? signal, output };
}
