import type { Disk } from '../../src/member/ports.ts';
import {
  ACTIVE_FILE,
  IDENTITY_FILE,
  type Identity,
  PEERS_FILE,
  QUARANTINE_FILE,
  readActive,
  readIdentity,
  readPeersSeen,
  readQuarantine,
  writeActive,
  writeIdentity,
  writePeersSeen,
  writeQuarantine,
} from '../../src/member/storage/data-dir.ts';
import { MemoryDisk } from '../../src/member/storage/memory-disk.ts';
import { decodeSmallFile, encodeSmallFile, type SmallFile } from '../../src/member/storage/small-file.ts';
import type { Target } from './fuzz.ts';
import { corrupt } from './log-targets.ts';
import { resealSmallFile } from './seals.ts';

/** The small files of a data directory. */

const smallFile: Target<SmallFile> = {
  name: 'small file',
  seeds: [
    { version: 1, fields: {} },
    { version: 2, fields: { name: 'n1', list: [1, 2, { deep: [null, true] }], text: 'ü"\\\n' } },
  ].map(encodeSmallFile),
  // JSON knows numbers that it does not write: -0, and what is too large for one.
  decode: (bytes) => JSON.parse(JSON.stringify(decodeSmallFile(bytes, 'FILE'))) as SmallFile,
  allows: corrupt,
  encode: encodeSmallFile,
  reseal: resealSmallFile,
};

async function emptyDisk(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await disk.makeDirectory('');
  return disk;
}

/** A file that is written and read by its own functions. */
async function fileTarget<T>(options: {
  readonly path: string;
  readonly values: readonly T[];
  readonly write: (disk: Disk, value: T) => Promise<void>;
  readonly read: (disk: Disk) => Promise<T | null>;
}): Promise<Target<T | null>> {
  const { path, values, write, read } = options;
  const encode = async (value: T): Promise<Buffer> => {
    const disk = await emptyDisk();
    await write(disk, value);
    return disk.readFile(path);
  };
  return {
    name: path,
    seeds: await Promise.all(values.map(encode)),
    async decode(bytes) {
      const disk = await emptyDisk();
      const file = await disk.open(path, 'create');
      await file.write(bytes, 0);
      await file.close();
      return read(disk);
    },
    allows: corrupt,
    encode: async (value) => encode(value!),
    reseal: resealSmallFile,
  };
}

const identity: Identity = {
  clusterId: 2 ** 52,
  memberId: 77,
  name: 'n1',
  incarnation: 2 ** 21 + 5,
  earlier: [2 ** 20, 1],
};
const seen = new Map([
  [1, { incarnation: 2 ** 21, logSeq: 0 }],
  [2 ** 50, { incarnation: 1, logSeq: 2 ** 40 }],
]);

export const FILE_TARGETS: readonly Target<unknown>[] = [
  smallFile,
  await fileTarget({ path: IDENTITY_FILE, values: [identity], write: writeIdentity, read: readIdentity }),
  await fileTarget({ path: ACTIVE_FILE, values: ['state-1'], write: writeActive, read: readActive }),
  await fileTarget({
    path: PEERS_FILE,
    values: [new Map(), seen],
    write: writePeersSeen,
    read: readPeersSeen,
  }),
  await fileTarget({
    path: QUARANTINE_FILE,
    values: ['the log is damaged'],
    write: writeQuarantine,
    read: readQuarantine,
  }),
] as readonly Target<unknown>[];
