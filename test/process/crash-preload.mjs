import * as fs from 'node:fs';
import { join } from 'node:path';
import { Housekeeping } from '../../dist/src/member/housekeeping.js';
import { NodeDisk } from '../../dist/src/member/storage/disk.js';
import { ClassicLevelOpener } from '../../dist/src/member/storage/level.js';
import {
  checkRecord,
  decodeRecord,
  decodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
} from '../../dist/src/member/storage/wal-format.js';

/**
 * Loaded into a server process before the server itself (`node --import`): gives every step in which a member
 * changes its disk a name, and ends or stops the process right before or right after the one it is told. It takes
 * hold of the two ports through which all of them go, so the server holds nothing of this.
 *
 * CRASH_CONTROL names a directory:
 *   settings.json  read at the start: logSegmentBytes, firstSegmentBytes, ticksPerBarrier, freeBytes, journal (all optional)
 *   armed.json     { step, when: before | after, occurrence, action: kill | stop }, read at the start and on SIGUSR2
 *   hits           one line for each time the process was ended or stopped
 *   seen           one line for each step of this process, at its first time
 *   journal        with `journal` set: one line of JSON at the beginning and one at the end of every step
 *   kept           with `journal` set: files that were removed or replaced
 */
const CONTROL = process.env.CRASH_CONTROL;
const SETTINGS = readJson('settings.json') ?? {};
const ZEROS = Buffer.alloc(1024 * 1024);
const SMALL_FILES = {
  IDENTITY: 'identity',
  ACTIVE: 'active',
  PEERS: 'peers',
  QUARANTINE: 'quarantine',
  RESTORING: 'restoring',
};
const LETTERS = { row: 0x64, barrier: 0x62 };

// ---- what is armed -------------------------------------------------------------------------------------------

let armed = readJson('armed.json');
let occurrences = 0;
let stepsBegun = 0;
const seen = new Set();
const journal = SETTINGS.journal === true ? fs.openSync(join(CONTROL, 'journal'), 'a') : null;

process.on('SIGUSR2', () => {
  armed = readJson('armed.json');
  occurrences = 0;
});

function readJson(name) {
  const path = join(CONTROL, name);
  return fs.existsSync(path) ? JSON.parse(fs.readFileSync(path, 'utf8')) : null;
}

function pass(name, when) {
  if (armed === null || armed.step !== name || armed.when !== when) return;
  occurrences += 1;
  if (occurrences < armed.occurrence) return;
  const { action } = armed;
  armed = null;
  // Whoever armed it may have given it up meanwhile.
  if (!fs.existsSync(join(CONTROL, 'armed.json'))) return;
  fs.rmSync(join(CONTROL, 'armed.json'), { force: true });
  fs.appendFileSync(join(CONTROL, 'hits'), `${when} ${name}\n`);
  process.kill(process.pid, action === 'stop' ? 'SIGSTOP' : 'SIGKILL');
}

function note(line) {
  if (journal !== null) fs.writeSync(journal, `${JSON.stringify(line)}\n`);
}

async function step(name, detail, run) {
  if (!seen.has(name)) {
    seen.add(name);
    fs.appendFileSync(join(CONTROL, 'seen'), `${name}\n`);
  }
  pass(name, 'before');
  stepsBegun += 1;
  const id = stepsBegun;
  note({ id, began: name, ...detail });
  const result = await run();
  note({ id, ended: name });
  pass(name, 'after');
  return result;
}

// ---- the disk ------------------------------------------------------------------------------------------------

/** Changes of each directory that no sync has covered, oldest first. */
const unsynced = new Map();
/** Of each open file: its path, which a rename changes, and what was written last. */
const openFiles = new Map();
/** Of the disk that is in use. */
let root = '';

function changed(directory, name) {
  unsynced.set(directory, [...(unsynced.get(directory) ?? []), name]);
}

function has(path) {
  return fs.existsSync(join(root, path));
}

/** What a removal or a replacement takes away is kept: a power loss may bring it back. */
function keep(path) {
  if (journal === null || !has(path) || !fs.statSync(join(root, path)).isFile()) return null;
  const kept = join(CONTROL, 'kept', `${stepsBegun + 1}`);
  fs.mkdirSync(join(CONTROL, 'kept'), { recursive: true });
  fs.linkSync(join(root, path), kept);
  return kept;
}

function parentOf(path) {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
}

/** Files that are replaced as a whole have one name for all their steps; null for any other. */
function smallFileName(path) {
  const base = path.replace(/\.tmp$/, '');
  if (base === 'wal/TAIL') return 'tail-mark';
  if (base === 'BALLAST') return 'ballast';
  const name = SMALL_FILES[base];
  if (name === undefined) return null;
  const isFirst = (name === 'identity' || name === 'active') && !has('IDENTITY');
  return isFirst ? `first-${name}` : name;
}

const diskMethods = methodsOf(NodeDisk.prototype);

/** A class's methods as they are now. */
function methodsOf(prototype) {
  return Object.fromEntries(
    Object.getOwnPropertyNames(prototype).map((name) => [
      name,
      Object.getOwnPropertyDescriptor(prototype, name).value,
    ]),
  );
}

NodeDisk.prototype.makeDirectory = function makeDirectory(path) {
  root = this.root;
  const run = () => diskMethods.makeDirectory.call(this, path);
  if (has(path)) return run();
  const name = madeName(path);
  if (path !== '') changed('', name);
  return step(name, { makeDirectory: path }, run);
};

function madeName(path) {
  if (path === '') return 'data-directory-made';
  if (path === 'wal') return 'log-directory-made';
  return has('IDENTITY') ? 'snapshot-directory-made' : 'first-state-directory-made';
}

NodeDisk.prototype.rename = function rename({ from, to }) {
  root = this.root;
  const name = from === 'wal/spare' ? 'segment-named' : `${smallFileName(to)}-renamed`;
  return step(name, { rename: from, to, kept: keep(to) }, async () => {
    await diskMethods.rename.call(this, { from, to });
    changed(parentOf(to), name);
    const file = openFiles.get(from);
    if (file === undefined) return;
    openFiles.delete(from);
    openFiles.set(to, file);
    file.path = to;
  });
};

NodeDisk.prototype.remove = function remove(path) {
  root = this.root;
  const run = () => diskMethods.remove.call(this, path);
  if (!has(path)) return run();
  const name = removedName(path);
  return step(name, { remove: path, kept: keep(path) }, async () => {
    await run();
    openFiles.delete(path);
    if (!path.endsWith('.tmp') && path !== 'wal/spare' && path !== 'wal') changed(parentOf(path), name);
  });
};

function removedName(path) {
  if (path === 'wal') return 'unfinished-log-removed';
  if (path === 'wal/spare') return 'spare-removed';
  if (path.endsWith('.tmp')) return 'leftover-removed';
  if (path.endsWith('.wal')) return 'segment-removed';
  return `${smallFileName(path) ?? unnamed('remove', path)}-removed`;
}

NodeDisk.prototype.syncDirectory = function syncDirectory(path) {
  const [first, ...others] = unsynced.get(path) ?? [];
  unsynced.set(path, others);
  const name = first === undefined ? 'directory-synced-again' : `${first}-directory-synced`;
  const names = journal === null ? [] : fs.readdirSync(join(this.root, path));
  return step(name, { syncDirectory: path, names }, () => diskMethods.syncDirectory.call(this, path));
};

NodeDisk.prototype.space = async function space() {
  const found = await diskMethods.space.call(this);
  return { ...found, freeBytes: SETTINGS.freeBytes ?? found.freeBytes };
};

NodeDisk.prototype.open = async function open(path, mode) {
  root = this.root;
  const opened = await diskMethods.open.call(this, path, mode);
  if (mode === 'read') return opened;
  if (mode === 'create' && path.endsWith('.wal')) {
    changed(parentOf(path), 'segment-created');
    note({ id: 0, began: 'segment-created', create: path });
  }
  const file = { path, mode, last: null, secured: mode === 'create' };
  openFiles.set(path, file);
  const { write, datasync, truncate } = Object.getPrototypeOf(opened);
  opened.write = (data, offset) => {
    const kind = writtenKind(file, data, offset);
    file.last = kind;
    const detail = { write: file.path, offset, length: data.length };
    return step(`${kind}-written`, detail, () => write.call(opened, data, offset));
  };
  opened.datasync = () => {
    const kind = file.last ?? 'tail';
    file.last = null;
    return step(`${kind}-synced`, { datasync: file.path }, async () => {
      await datasync.call(opened);
      file.secured = true;
    });
  };
  // Taken apart, so that a process can end between the two.
  opened.writeDurably = async (data, offset) => {
    await opened.write(data, offset);
    await opened.datasync();
  };
  opened.truncate = () => unnamed('truncate', truncate.name);
  return opened;
};

function writtenKind(file, data, offset) {
  if (file.path === 'wal/spare') return 'spare';
  if (!file.path.endsWith('.wal')) return smallFileName(file.path) ?? unnamed('write', file.path);
  const isZero = ZEROS.compare(data, 0, data.length, 0, data.length) === 0;
  // Opened to go on with, and not yet synced: the end of the log is being put in order.
  if (!file.secured || isZero)
    return file.mode === 'create' ? 'first-segment' : isZero ? 'tail-cut' : 'tail-again';
  return recordKind(data, offset);
}

function recordKind(data, offset) {
  let start = offset === 0 && decodeSegmentHeader(data) !== null ? SEGMENT_HEADER_BYTES : 0;
  let header = checkRecord(data, start, data.readUInt32LE(start + 12));
  // Records that were written and not synced are written again, in front of the one that is new.
  while (header !== null && start + header.sizeBytes < data.length) {
    start += header.sizeBytes;
    header = checkRecord(data, start, data.readUInt32LE(start + 12));
  }
  if (header === null) return unnamed('write', 'what is no record');
  const record = decodeRecord(data, start, header);
  if (record.snapshot !== null) return has('IDENTITY') ? 'snapshot-record' : 'first-snapshot-record';
  if (record.incarnation !== null) return 'boot-record';
  if (record.position !== null) return 'position-record';
  return record.checkpoint !== null ? 'checkpoint-record' : 'record';
}

// ---- the levels ----------------------------------------------------------------------------------------------

const levelMethods = methodsOf(ClassicLevelOpener.prototype);
const levelsOpened = new Set();

function numberOf(state) {
  return Number(state.slice('state-'.length));
}

function activeState() {
  return has('ACTIVE')
    ? JSON.parse(fs.readFileSync(join(root, 'ACTIVE'), 'utf8').split('\n')[0]).state
    : null;
}

ClassicLevelOpener.prototype.open = async function open(path, options) {
  const kind = !options.create ? 'running' : has('IDENTITY') ? 'snapshot' : 'first-state';
  const name = options.create
    ? `${kind}-created`
    : path === activeState()
      ? 'state-opened'
      : 'snapshot-opened';
  const level = await step(name, { openLevel: path }, () => levelMethods.open.call(this, path, options));
  levelsOpened.add(path);
  const { batch, flush, compactRange } = Object.getPrototypeOf(level);
  level.batch = (ops, how) => {
    const batchKind = batchName(kind, ops, how);
    if (batchKind.endsWith('barrier-written')) changed(path, batchKind);
    const detail = { batch: path, sync: how.sync, marks: marksOf(ops) };
    return step(batchKind, detail, async () => {
      await batch.call(level, ops, how);
      // One batch is in flight at a time: with this one the newest log is durable as far as it goes.
      if (how.sync) note({ syncedLog: path, ...newestLog(path) });
    });
  };
  level.flush = () => {
    const flushed = kind === 'running' ? 'barrier-flushed' : `${kind}-flushed`;
    changed(path, flushed);
    return step(flushed, { flush: path }, () => flush.call(level));
  };
  level.compactRange = (range) => {
    // A flush is a compaction of a range that nothing is in.
    const run = () => compactRange.call(level, range);
    return range.gte[0] === 0xff ? run() : step('defragmented', { compactRange: path }, run);
  };
  return level;
};

function batchName(kind, ops, { sync }) {
  if (kind === 'first-state') return 'first-state-written';
  if (kind === 'snapshot') return sync ? 'snapshot-barrier-written' : 'snapshot-rows-written';
  const [{ type, key }] = ops;
  if (type === 'del') return key[0] === LETTERS.row ? 'compacted-rows-removed' : 'garbage-removed';
  return key[0] === LETTERS.barrier ? 'barrier-written' : 'batch-written';
}

function newestLog(path) {
  if (journal === null) return {};
  const log = fs
    .readdirSync(join(root, path))
    .filter((name) => name.endsWith('.log'))
    .toSorted()
    .at(-1);
  return { log, bytes: fs.statSync(join(root, path, log)).size };
}

/** Markers and barriers, which say what the state is after the batch. */
function marksOf(ops) {
  if (journal === null) return [];
  return ops
    .filter(
      ({ type, key }) =>
        type === 'put' && key.length === 17 && (key[0] === 0x61 || key[0] === LETTERS.barrier),
    )
    .map(({ key, value }) => [key.toString('hex'), value.toString('hex')]);
}

ClassicLevelOpener.prototype.destroy = function destroy(path) {
  const run = () => levelMethods.destroy.call(this, path);
  return has(path) ? step(destroyedName(path), { destroy: path }, run) : run();
};

function destroyedName(path) {
  if (!has('IDENTITY')) return 'unfinished-state-destroyed';
  if (!levelsOpened.has(path)) return 'leftover-state-destroyed';
  return numberOf(path) > numberOf(activeState()) ? 'snapshot-abandoned' : 'old-state-destroyed';
}

/** A step of the sources that the table lacks. */
function unnamed(operation, what) {
  fs.writeSync(2, `a step without a name: ${operation} ${what}\n`);
  return process.kill(process.pid, 'SIGKILL');
}

// ---- what would come too seldom ------------------------------------------------------------------------------

if (SETTINGS.logSegmentBytes !== undefined) {
  // The server leaves this option of the member out; so the member finds it here.
  Object.defineProperty(Object.prototype, 'logSegmentBytes', { value: SETTINGS.logSegmentBytes });
}
if (SETTINGS.firstSegmentBytes !== undefined) {
  Object.defineProperty(Object.prototype, 'segmentBytes', { value: SETTINGS.firstSegmentBytes });
}
if (SETTINGS.ticksPerBarrier !== undefined) {
  const { tick } = methodsOf(Housekeeping.prototype);
  let ticks = 0;
  Housekeeping.prototype.tick = function tickWithBarriers() {
    tick.call(this);
    ticks += 1;
    // Its failure is the store's, which ends the member.
    if (ticks % SETTINGS.ticksPerBarrier === 0) this.barrier().catch(() => {});
  };
}
