import type { KvEvent } from '../../../src/core/mvcc/event.ts';
import type { DeleteRangeRequest, PutRequest, TxnRequest } from '../../../src/core/mvcc/operations.ts';
import {
  type WatchDelivery,
  WatchHub,
  type WatchHubOptions,
  type WatchOptions,
  type WatchSink,
} from '../../../src/core/watch/hub.ts';
import { bytes, Harness } from '../mvcc/fixture.ts';

/** Remembers what it was given; can be told to take only so much before it fills up. */
export class RecordingSink implements WatchSink {
  readonly deliveries: WatchDelivery[] = [];
  /** Deliveries it takes until it is not writable. */
  room = Number.POSITIVE_INFINITY;
  /** What the face does on a delivery. */
  onDelivery: () => void = () => {};

  get writable(): boolean {
    return this.room > 0;
  }
  deliver(delivery: WatchDelivery): void {
    if (!this.writable) throw new Error('a delivery to a sink that is not writable');
    this.room -= 1;
    this.deliveries.push(delivery);
    this.onDelivery();
  }
  /** What came since the last call, in short: `2@5:+a,-b` is watch 2, up to revision 5, a put, b deleted. */
  take(): string[] {
    return this.deliveries.splice(0).map(shortOf);
  }
}

export function shortOf(delivery: WatchDelivery): string {
  switch (delivery.type) {
    case 'events': {
      const events = delivery.events.map(({ event }) => eventName(event));
      return `${delivery.watchId}@${delivery.revision}:${events.join(',')}`;
    }
    case 'progress':
      return `${delivery.watchId}@${delivery.revision}`;
    case 'canceled':
      return `${delivery.watchId}!${delivery.compactRevision}`;
  }
}

function eventName({ type, row }: KvEvent): string {
  return `${type === 'put' ? '+' : '-'}${row.key.toString('latin1')}`;
}

export function watch(
  watchId: bigint,
  key: string,
  options: Partial<WatchOptions> & { end?: string } = {},
): WatchOptions {
  const { end = '', ...rest } = options;
  return {
    watchId,
    key: bytes(key),
    rangeEnd: bytes(end),
    startRevision: 0,
    noPut: false,
    noDelete: false,
    prevKv: false,
    progressNotify: false,
    ...rest,
  };
}

/** A store and the hub that watches it. */
export class WatchHarness extends Harness {
  readonly hub: WatchHub;
  work = 0;

  constructor(options: WatchHubOptions = {}) {
    super();
    this.hub = new WatchHub(this.store, { onWork: () => this.work++, ...options });
  }
  write(...requests: readonly (PutRequest | DeleteRangeRequest | TxnRequest)[]): void {
    for (const request of requests) {
      const { revision, events } = this.commit(request);
      if (events.length > 0) this.hub.notify(revision, events);
    }
  }
  sync(): void {
    while (this.hub.syncSlice());
  }
}
