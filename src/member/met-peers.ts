import type { MemberId } from '../core/raft/messages.ts';
import type { Disk, PeerIdentity } from './ports.ts';
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
    // Two incarnations of one count: one of them began on a copy, and nobody can say which has the newer data.
    const isSame = peer.incarnation === before.incarnation;
    const isLater = startsIn(peer.incarnation) > startsIn(before.incarnation);
    if ((isSame || isLater) && peer.logSeq >= before.logSeq) return null;
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
