import type { MemberId } from '../core/raft/messages.ts';
import { type Disk, EARLIER_STARTS_MAX, type PeerIdentity } from './ports.ts';
import { type PeerSeen, readPeersSeen, startsIn, writePeersSeen } from './storage/data-dir.ts';

/**
 * Remembers, across restarts, how far each peer's data had come when it was last met. A peer that comes back with
 * less has lost data it may have acknowledged (an old copy, an emptied disk) and is refused (RELIABILITY P46).
 */
export class MetPeers {
  readonly #disk: Disk;
  readonly #seen: Map<MemberId, PeerSeen>;
  readonly #failed: (error: unknown) => void;
  #writing: Promise<void> = Promise.resolve();

  private constructor(disk: Disk, seen: ReadonlyMap<MemberId, PeerSeen>, failed: (error: unknown) => void) {
    this.#disk = disk;
    this.#seen = new Map(seen);
    this.#failed = failed;
  }

  /** @param failed called when the file cannot be written: a storage error ends the member */
  static async open(disk: Disk, failed: (error: unknown) => void): Promise<MetPeers> {
    return new MetPeers(disk, await readPeersSeen(disk), failed);
  }

  ids(): MemberId[] {
    return [...this.#seen.keys()];
  }

  /** Why this peer's data must not be trusted, or null. */
  refusal(peer: PeerIdentity): string | null {
    const before = this.#seen.get(peer.memberId);
    if (before === undefined) return null;
    const isSame = peer.incarnation === before.incarnation;
    if ((isSame || follows(peer, before.incarnation)) && peer.logSeq >= before.logSeq) return null;
    return 'its data directory has gone back in time: remove the member and add it anew';
  }

  note({ memberId, incarnation, logSeq }: PeerIdentity): void {
    const before = this.#seen.get(memberId);
    if (before?.incarnation === incarnation && before.logSeq === logSeq) return;
    this.#seen.set(memberId, { incarnation, logSeq });
    const copy = new Map(this.#seen);
    this.#writing = this.#writing.then(() => writePeersSeen(this.#disk, copy)).catch(this.#failed);
  }

  async close(): Promise<void> {
    await this.#writing;
  }
}

/** Whether a start is on data that knows of an earlier one. Of starts that it no longer names, the count decides. */
function follows({ earlier }: PeerIdentity, incarnation: number): boolean {
  if (earlier.includes(incarnation)) return true;
  const oldest = earlier.at(-1);
  return (
    oldest !== undefined && earlier.length >= EARLIER_STARTS_MAX && startsIn(oldest) > startsIn(incarnation)
  );
}
