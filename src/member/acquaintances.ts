import type { StateMachine } from '../core/state-machine.ts';
import type { Logger } from '../lib/logger.ts';
import type { BootedData } from './boot.ts';
import { encodeAccount } from './bootstrap.ts';
import type { MetPeers } from './met-peers.ts';
import type { PeerIdentity, Transport } from './ports.ts';
import type { Whereabouts } from './whereabouts.ts';

export interface AcquaintancesOptions {
  readonly identity: BootedData['identity'];
  readonly met: MetPeers;
  readonly whereabouts: Whereabouts;
  readonly transport: Pick<Transport, 'setPeers'>;
  readonly machine: () => StateMachine;
  readonly logger: Logger;
}

/** Whom a member knows: the members it talks to, those it lets in, and what it says of all of them when asked. */
export class Acquaintances {
  readonly #options: AcquaintancesOptions;

  constructor(options: AcquaintancesOptions) {
    this.#options = options;
  }

  /** To be called when the members changed, or where they live. */
  changed(): void {
    const { whereabouts, transport } = this.#options;
    transport.setPeers(whereabouts.addresses());
  }

  /** Why a peer that connects must be refused, or null; it is remembered then. */
  admit(peer: PeerIdentity): string | null {
    const { met, whereabouts, machine, logger } = this.#options;
    const { members } = machine();
    if (members.wasRemoved(peer.memberId)) return 'it was removed from the cluster';
    // Somebody newer than what is applied here: a member that lags must not keep the newcomer out.
    const refusal = met.refusal(peer);
    if (refusal === null) {
      met.note(peer);
      if (whereabouts.met(peer)) this.changed();
    } else {
      logger.error({ peer: peer.memberId.toString(16) }, refusal);
    }
    return refusal;
  }

  /** For whoever asks before he has a place in the cluster. */
  account(): Buffer {
    const { identity, met, machine } = this.#options;
    const { members } = machine();
    return encodeAccount({
      clusterId: identity.clusterId,
      members: machine().memberList(),
      met: [...met.ids(), identity.memberId],
      removed: members.removed(),
    });
  }
}
