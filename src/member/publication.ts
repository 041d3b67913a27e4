import type { MemberRecord, Operation } from '../core/command.ts';
import type { MemberId } from '../core/raft/messages.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import type { Clock } from './ports.ts';

export interface PublicationOptions {
  readonly self: MemberId;
  readonly name: string;
  readonly clientUrls: readonly string[];
  /** Absent when the member says none. */
  readonly region?: string;
  readonly clock: Clock;
  /** How often it is looked whether the state knows this member, and how long after a failure it is tried again. */
  readonly lookMs: number;
  readonly retryMs: number;
  /** This member, as it has been applied here. */
  readonly record: () => MemberRecord | undefined;
  readonly propose: (operation: Operation) => Promise<unknown>;
  readonly signal: CancelSignal;
}

/** Tells the cluster this member's name, client addresses and region, until it is told or the member stops. */
export async function publish(options: PublicationOptions): Promise<void> {
  const { self: id, name, clientUrls, region, record, signal } = options;
  const operation: Operation = {
    type: 'member-publish',
    id,
    name,
    clientUrls,
    ...(region !== undefined && { region }),
  };
  // A member that has just joined first needs the state that knows it.
  while (!signal.aborted && record() === undefined) await pause(options, options.lookMs);
  while (!signal.aborted && !isTold(options)) {
    try {
      await options.propose(operation);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      await pause(options, options.retryMs);
    }
  }
}

function isTold({ name, clientUrls, region, record }: PublicationOptions): boolean {
  const told = record();
  return told?.name === name && told.region === region && told.clientUrls.join() === clientUrls.join();
}

function pause({ clock }: PublicationOptions, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(resolve, delayMs));
}
