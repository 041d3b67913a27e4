import { StoreError } from '../../lib/errors.ts';
import type { Disk, RecoveredLog } from '../ports.ts';
import { type ScannedSegment, scanLog, toRecovered } from './wal-recovery.ts';

/** What a log holds, without changing it. */
export type LogInspection =
  | {
      readonly ok: true;
      readonly segments: readonly ScannedSegment[];
      readonly recovered: RecoveredLog;
      /** The newest start of the process that the log knows. */
      readonly incarnation: number;
      /** A torn final record is still there; the next start will cut it. */
      readonly torn: boolean;
    }
  | {
      readonly ok: false;
      readonly code: 'data-dir-corrupt' | 'data-dir-foreign';
      /** File, offset and what is wrong there. */
      readonly problem: string;
    };

/**
 * Verifies every segment of a log that no process has open; of a running member's log the last record may look torn.
 *
 * @throws StoreError `storage` when it cannot be read
 */
export async function inspectLog(options: {
  readonly disk: Disk;
  readonly directory: string;
}): Promise<LogInspection> {
  try {
    const scanned = await scanLog(options.disk, options.directory);
    const { segments, torn, replay } = scanned;
    return { ok: true, segments, recovered: toRecovered(scanned), incarnation: replay.incarnation, torn };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.code !== 'data-dir-corrupt' && error.code !== 'data-dir-foreign') throw error;
    return { ok: false, code: error.code, problem: error.message };
  }
}
