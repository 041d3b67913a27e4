import { INTERNAL_USER, type Principal } from '../../core/auth/operations.ts';
import { leaseReadRefusal } from '../../core/auth/txn-access.ts';
import type { StateMachine } from '../../core/state-machine.ts';
import type { WatchHub, WatchOptions, WatchSink, WatchStream } from '../../core/watch/hub.ts';
import { targetRange, watchTarget } from '../../core/watch/watcher.ts';
import { StoreError, type StoreErrorCode } from '../../lib/errors.ts';
import type { Freshness } from '../freshness.ts';
import type { Clock } from '../ports.ts';
import type { Reads } from '../reads.ts';
import { type FreshRequest, WatchProofs } from '../watch-proofs.ts';
import type { Access, ClientContext } from './access.ts';

/** The watches of one client's stream, each within what the client may read. */
export interface GuardedStream
  extends Pick<WatchStream, 'create' | 'cancel' | 'requestProgress' | 'close' | 'open'> {
  /** As `WatchStream.requestNonce`, once the age of the state can be told. */
  requestFresh(request: FreshRequest): void;
}

export interface WatchGuardOptions {
  readonly hub: WatchHub;
  readonly access: Access;
  readonly machine: () => Pick<StateMachine, 'auth' | 'access' | 'lessor'>;
  readonly clock: Clock;
  readonly freshness: Pick<Freshness, 'proof' | 'demand'>;
  readonly reads: Pick<Reads, 'linearizable'>;
}

/** The texts of a refused or ended watch: a gRPC status as etcd's clients print and compare it. */
const REASONS: Partial<Readonly<Record<StoreErrorCode, string>>> = {
  'permission-denied': 'rpc error: code = PermissionDenied desc = etcdserver: permission denied',
  'auth-token-invalid': 'rpc error: code = Unauthenticated desc = etcdserver: invalid auth token',
  'auth-revision-old': 'rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old',
  'user-empty': 'rpc error: code = InvalidArgument desc = etcdserver: user name is empty',
};
/** Of a watch bound to a lease that is not there. */
const REASON_NO_LEASE = 'etcdserver: requested lease not found';
const REASON_DENIED = REASONS['permission-denied']!;
const CODES: ReadonlyMap<string, StoreErrorCode> = new Map(
  Object.entries(REASONS).map(([code, reason]) => [reason, code as StoreErrorCode]),
);

/** What a watch was refused or ended for, when that concerns who watches; else undefined. */
export function refusalOf(reason: string): StoreErrorCode | undefined {
  return CODES.get(reason);
}

/**
 * Keeps watches within their users' permissions: checked over the whole range when a watch is made, and again, before
 * the next entry is applied, whenever somebody may be allowed less than before.
 */
export class WatchGuard {
  readonly #options: WatchGuardOptions;
  readonly #streams = new Map<WatchStream, WatchSink>();

  constructor(options: WatchGuardOptions) {
    this.#options = options;
  }

  open(sink: WatchSink, context: ClientContext): GuardedStream {
    const { hub, clock, freshness, reads } = this.#options;
    const stream = hub.open(sink);
    this.#streams.set(stream, sink);
    const { noncesMax } = hub.limits;
    const proofs = new WatchProofs({ clock, freshness, reads, stream, noncesMax, signal: context.signal });
    return {
      get open() {
        return stream.open;
      },
      create: (options) => this.#create(stream, options, context),
      cancel: (watchId) => stream.cancel(watchId),
      requestProgress: () => stream.requestProgress(),
      requestFresh: (request) => proofs.request(request),
      close: () => {
        this.#streams.delete(stream);
        stream.close();
      },
    };
  }

  /** Ends the watches that are no longer allowed. */
  recheck(): void {
    if (!this.#options.machine().auth.enabled) return;
    for (const [stream, sink] of this.#streams) {
      for (const { id, owner, target } of stream.watchers.values()) {
        const refusal = this.#refusal(owner as Principal, targetRange(target));
        if (refusal === null) continue;
        stream.cancel(id);
        const reason = REASONS[refusal] ?? REASON_DENIED;
        sink.deliver({ type: 'canceled', watchId: id, reason, compactRevision: 0 });
      }
    }
  }

  #create(stream: WatchStream, options: WatchOptions, context: ClientContext): string | null {
    const { access, machine } = this.#options;
    try {
      const owner = access.principal(context);
      const state = machine();
      const target = watchTarget(options);
      // As in etcd who may not read the first key hears of that, even where the range has no key at all.
      const range = target ?? { key: options.key.toString('latin1') };
      const { lease = 0n } = options;
      const refusal =
        state.auth.rangeRefusal(owner, 'read', targetRange(range)) ??
        (lease === 0n ? null : leaseReadRefusal(state.access, owner, lease));
      access.decided(refusal);
      if (refusal !== null) return REASONS[refusal] ?? REASON_DENIED;
      if (lease !== 0n && !state.lessor.has(lease)) return REASON_NO_LEASE;
      return stream.create({ ...options, owner });
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      access.decided(error.code);
      return REASONS[error.code] ?? REASON_DENIED;
    }
  }

  /** What identified the owner may be over; permissions are those of now. */
  #refusal(owner: Principal, range: ReturnType<typeof targetRange>): StoreErrorCode | null {
    const { auth } = this.#options.machine();
    if (owner.user === INTERNAL_USER) return null;
    if (owner.revision === 0) return 'user-empty';
    if (auth.user(owner.user) === undefined) return 'permission-denied';
    if (!auth.isFresh(owner)) return 'auth-token-invalid';
    return auth.rangeRefusal({ user: owner.user, revision: auth.revision }, 'read', range);
  }
}
