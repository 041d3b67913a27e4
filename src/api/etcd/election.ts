import { type KeyValue, putRequest } from '../../core/mvcc/operations.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Header } from '../../member/client-calls.ts';
import type { LeaderKey } from '../../rpc/generated/v3electionpb/v3election.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { serverStream, unary } from '../../rpc/service.ts';
import type { EtcdBackend } from './backend.ts';
import { contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import { asRecipe, recipeError } from './lock.ts';
import { holds, Queue, type Ticket } from './queue.ts';
import { saturated, wireHeader, wireInteger, wireKeyValue } from './translate.ts';

/**
 * Registers `v3electionpb.Election`. The leader is who has the oldest key of the election; it leads until it resigns
 * or its lease ends. The leader key's revision serves as a fencing token (docs/guarantees.md).
 */
export function registerElection(server: RpcServer, backend: EtcdBackend): void {
  unary(server, '/v3electionpb.Election/Campaign', async (request, call) => {
    requireLeader(call, backend);
    return asRecipe(async () => {
      const queue = new Queue(backend, request.name, contextOf(call));
      const lease = await queue.lease(request.lease);
      const { header, ticket, found } = await queue.join(lease, request.value);
      try {
        if (found !== undefined && !found.value.equals(request.value)) {
          await proclaim(queue, ticket, request.value);
        }
        await queue.first(ticket);
      } catch (error) {
        await queue.abandon(ticket);
        throw error;
      }
      const { key, revision } = ticket;
      return {
        header: wireHeader(header),
        leader: { name: request.name, key, rev: revision, lease: wireInteger(lease) },
      };
    });
  });

  unary(server, '/v3electionpb.Election/Proclaim', async ({ leader, value }, call) => {
    requireLeader(call, backend);
    return asRecipe(async () => {
      const ticket = ticketOf(leader);
      const queue = new Queue(backend, leader!.name, contextOf(call));
      return { header: wireHeader(await proclaim(queue, ticket, value)) };
    });
  });

  unary(server, '/v3electionpb.Election/Resign', async ({ leader }, call) => {
    requireLeader(call, backend);
    return asRecipe(async () => {
      const ticket = ticketOf(leader);
      const queue = new Queue(backend, leader!.name, contextOf(call));
      return { header: wireHeader(await queue.leave(ticket)) };
    });
  });

  unary(server, '/v3electionpb.Election/Leader', async (request, call) => {
    requireLeader(call, backend);
    return asRecipe(async () => {
      const { header, kv } = await new Queue(backend, request.name, contextOf(call)).head();
      if (kv === undefined) throw recipeError('election: no leader');
      return { header: wireHeader(header), kv: wireKeyValue(kv) };
    });
  });

  serverStream(server, '/v3electionpb.Election/Observe', async (request, call, out) => {
    requireLeader(call, backend);
    await asRecipe(async () => {
      const queue = new Queue(backend, request.name, contextOf(call));
      for await (const { header, kv } of leaders(queue)) {
        out.write({ header: wireHeader(header), kv: wireKeyValue(kv) });
        await out.bytes.drained();
      }
    });
  });
}

async function proclaim(queue: Queue, ticket: Ticket, value: Buffer): Promise<Header> {
  const { key, lease } = ticket;
  const { header, result } = await queue.txn([holds(ticket)], [putRequest({ key, value, lease })], []);
  if (!result.succeeded) throw recipeError('election: not leader');
  return header;
}

function ticketOf(leader: LeaderKey | null | undefined): Ticket {
  if (leader === null || leader === undefined) throw recipeError('"leader" field must be provided');
  return { key: leader.key, lease: BigInt(leader.lease), revision: saturated(leader.rev) };
}

interface Leader {
  readonly header: Header;
  readonly kv: KeyValue;
}

/** Every leader from now on, and everything it proclaims; always the newest, though not every one in between. */
async function* leaders(queue: Queue): AsyncGenerator<Leader> {
  for (;;) {
    const { header, kv } = await queue.head();
    try {
      const leader = kv === undefined ? await firstPut(queue, header) : { header, kv };
      yield leader;
      yield* proclamations(queue, leader);
    } catch (error) {
      // Whoever was overtaken by a compaction looks anew.
      if (!(error instanceof StoreError) || error.code !== 'compacted') throw error;
    }
  }
}

/** Waits until somebody joins an empty election. */
async function firstPut(queue: Queue, header: Header): Promise<Leader> {
  for await (const { events } of queue.changes(header.revision + 1)) {
    const event = events.find((candidate) => candidate.event.type === 'put')?.event;
    if (event === undefined) continue;
    const { row } = event;
    const kv = { ...row, modRevision: row.main };
    return { header: { ...header, revision: row.main }, kv };
  }
  throw recipeError('election: no leader');
}

/** What a leader says after `leader`, until its key is deleted. */
async function* proclamations(queue: Queue, { header, kv }: Leader): AsyncGenerator<Leader> {
  for await (const { revision, events } of queue.changesOf(kv.key, header.revision + 1)) {
    for (const { event } of events) {
      if (event.type === 'delete') return;
      yield { header: { ...header, revision }, kv: { ...event.row, modRevision: event.row.main } };
    }
  }
}
