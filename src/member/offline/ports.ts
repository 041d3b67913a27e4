import type { Disk, LevelOpener, Random } from '../ports.ts';
import { NodeDisk } from '../storage/disk.ts';
import { ClassicLevelOpener } from '../storage/level.ts';
import { systemRandom } from '../system.ts';

/** What work on a data directory needs while no member runs on it. */
export interface OfflinePorts {
  readonly disk: Disk;
  readonly levels: LevelOpener;
  readonly random: Random;
}

/** The real ones. The directory must exist. */
export function offlinePorts(dataDir: string): OfflinePorts {
  return { disk: new NodeDisk(dataDir), levels: new ClassicLevelOpener(dataDir), random: systemRandom };
}
