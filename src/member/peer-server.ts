import { isCommand } from '../core/command.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import type { ApplyHashes } from './apply-hashes.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import type { Membership } from './membership.ts';
import { decodePeerRequest, encodePeerAnswer, type PeerAnswer, type PeerRequest } from './peer-requests.ts';
import type { CallContext, ForwardAnswer } from './proposals.ts';
import type { ReadyLoop } from './ready-loop.ts';

export interface PeerServerOptions {
  readonly loop: ReadyLoop;
  readonly leases: LeaseKeeper;
  readonly membership: Membership;
  readonly hashes: ApplyHashes;
  /** Ends what is served when the member stops. */
  readonly signal: CancelSignal;
}

/** Answers what other members ask on the request stream. */
export class PeerServer {
  readonly #options: PeerServerOptions;

  constructor(options: PeerServerOptions) {
    this.#options = options;
  }

  async serve(from: MemberId, body: Buffer): Promise<Buffer> {
    const request = decodePeerRequest(body);
    return encodePeerAnswer(request.type, this.#answer(from, request));
  }

  async #answer(from: MemberId, request: PeerRequest): Promise<PeerAnswer<PeerRequest['type']>> {
    const { leases, membership, hashes, signal } = this.#options;
    switch (request.type) {
      case 'propose':
        return this.#propose(request);
      case 'lease-renew':
        return leases.renew(request, signal);
      case 'lease-remaining':
        return leases.remainingSeconds(request.id, signal);
      case 'member-add':
        this.#checkLeader();
        return membership.add(request, callerOf(request, signal));
      case 'member-remove':
        this.#checkLeader();
        await membership.remove(request.id, callerOf(request, signal));
        return null;
      case 'member-promote':
        this.#checkLeader();
        await membership.promote(request.id, callerOf(request, signal));
        return null;
      case 'apply-hash':
        return hashes.at(request.index);
      case 'tail-check':
        return {
          acknowledged: this.#options.loop.node.status().progress.get(from)?.match ?? 0,
          removed: this.#options.loop.replica.machine.members.removed(),
        };
    }
  }

  /** The loop takes it in its next turn; the answer says whether it is in this leader's log. */
  #propose({ term, commands }: PeerRequest & { readonly type: 'propose' }): Promise<ForwardAnswer> {
    if (commands.length === 0 || !commands.every(isCommand)) {
      return Promise.reject(new StoreError('unimplemented', 'forwarded bytes are not commands'));
    }
    const { loop } = this.#options;
    return new Promise((resolve) => {
      loop.run(() => {
        if (loop.node.leadership.term !== term) {
          // The forwarder counts it as lost with its term's leader: taking it now could do it twice.
          resolve('refused');
          return;
        }
        const outcome = loop.node.propose(commands);
        if (outcome.ok) resolve('accepted');
        else resolve(outcome.reason === 'busy' ? 'busy' : 'refused');
      });
    });
  }

  #checkLeader(): void {
    if (this.#options.loop.view.role !== 'leader') throw new StoreError('not-leader');
  }
}

/** Whom the asking member acts for. */
function callerOf(
  { user, authRevision }: { readonly user: string; readonly authRevision: number },
  signal: CancelSignal,
): CallContext {
  return { signal, user, authRevision };
}
