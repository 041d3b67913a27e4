import type { Logger } from '../../lib/logger.ts';
import type { Clock, PeerIdentity, Random, Timer, TransportHandlers } from '../ports.ts';
import type { Connection } from './connection.ts';
import type { TransportLimits } from './limits.ts';
import type { DeflatedBytes } from './outbox.ts';
import type { RefusalLog } from './refusal-log.ts';
import type { PeerSecurity } from './security.ts';

/** What every part of one transport shares once it is started. */
export interface TransportContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits: TransportLimits;
  readonly identity: PeerIdentity;
  readonly handlers: TransportHandlers;
  /** Every open connection, in and out: whoever opens one adds it, and its end removes it. */
  readonly connections: Set<Connection>;
  /** Where refusals of peers are told. */
  readonly refusals: RefusalLog;
  readonly security: PeerSecurity;
  /** Told of every frame that was deflated. */
  readonly deflated: (bytes: DeflatedBytes) => void;
}

/** What dialing alone needs: a probe runs before there is an identity. */
export type DialContext = Pick<TransportContext, 'clock' | 'limits' | 'connections' | 'security'>;

/**
 * Calls back after `delayMs` and one more look at the sockets. After a stall of this process timers fire before
 * the bytes that have long arrived are read; a peer must not be blamed for that.
 */
export function setDeadline(clock: Clock, callback: () => void, delayMs: number): Timer {
  let canceled = false;
  const timer = clock.setTimer(() => {
    clock.setImmediate(() => {
      if (!canceled) callback();
    });
  }, delayMs);
  return {
    cancel() {
      canceled = true;
      timer.cancel();
    },
  };
}
