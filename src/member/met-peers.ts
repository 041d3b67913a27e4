import type { MemberId } from '../core/raft/messages.ts';
import type { Disk, PeerIdentity } from './ports.ts';
import { type PeerSeen, readPeersSeen, startsIn, writePeersSeen } from './storage/data-dir.ts';

/** In place of how far a log had come: no later start has come as far. */
const NO_LATER_START = Number.MAX_SAFE_INTEGER;

/**
 * Remembers, across restarts, how far each peer's data had come when it was last met. A peer that comes back with
 * less has lost data it may have acknowledged (an old copy, an emptied disk) and is refused (RELIABILITY P46).
 *
 * Once two starts of one count have come, there are two histories of one member, and later starts of either look alike
 * here: only the one that was met first is let in from then on, and nothing that starts after it.
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

  /** Why this peer's data must not be trusted, or null. What shows that there are two histories is remembered. */
  refusal(peer: PeerIdentity): string | null {
    const before = this.#seen.get(peer.memberId);
    if (before === undefined || peer.incarnation === before.incarnation) return null;
    const starts = startsIn(peer.incarnation);
    const startsBefore = startsIn(before.incarnation);
    if (starts > startsBefore && peer.logSeq >= before.logSeq) return null;
    // Two incarnations of one count: one of them began on a copy, and nobody can say which has the newer data.
    if (starts === startsBefore) this.#see(peer.memberId, { ...before, logSeq: NO_LATER_START });
    return 'its data directory has gone back in time: remove the member and add it anew';
  }

  note({ memberId, incarnation, logSeq }: PeerIdentity): void {
    // Also so that two histories stay known when the one that was met first connects again.
    if (this.#seen.get(memberId)?.incarnation === incarnation) return;
    this.#see(memberId, { incarnation, logSeq });
  }

  async close(): Promise<void> {
    await this.#writing;
  }

  #see(memberId: MemberId, seen: PeerSeen): void {
    const before = this.#seen.get(memberId);
    if (before?.incarnation === seen.incarnation && before.logSeq === seen.logSeq) return;
    this.#seen.set(memberId, seen);
    const copy = new Map(this.#seen);
    this.#writing = this.#writing.then(() => writePeersSeen(this.#disk, copy)).catch(this.#failed);
  }
}
