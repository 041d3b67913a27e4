import { METHODS } from '../../src/client/wire.ts';
import { GrpcConnection } from '../load/grpc-connection.ts';
import { type Figure, latencyFigures, prefixed, type Question, withUsage } from '../question.ts';
import { spread } from '../statistics.ts';

const LEASES = 10_000;
const STREAMS = 100;
const CONNECTIONS = 10;
const IN_FLIGHT = 10;
const ROUNDS = 5;
/** None expires while it is measured. */
const TTL_SECONDS = 3_600;
const GRANTS_IN_FLIGHT = 100;
const PATIENCE_MS = 120_000;

/** What it takes to keep many clients' sessions alive. */
export const LEASE_KEEP_ALIVE: Question = {
  name: `keep-alives of ${LEASES} leases`,
  load: `${ROUNDS} rounds over ${LEASES} leases on ${STREAMS} streams of ${CONNECTIONS} connections, ${IN_FLIGHT} in flight on each stream; at the leader, then at a follower`,
  measure: async ({ cluster, count }) => {
    const { leader, followers } = await cluster.roles();
    const leases = Math.max(STREAMS, count(LEASES));
    await grantAll(leader, leases);
    const figures: Figure[] = [];
    for (const [place, url] of [
      ['leader', leader],
      ['follower', followers[0]!],
    ] as const) {
      const measured = await withUsage(cluster, () => keepAlive(url, leases));
      figures.push(...prefixed(place, measured));
    }
    return figures;
  },
};

async function grantAll(url: string, leases: number): Promise<void> {
  const connection = await GrpcConnection.open(url);
  const { path, encode } = METHODS.leaseGrant;
  let next = 1;
  const granter = async (): Promise<void> => {
    while (next <= leases) {
      const id = next;
      next += 1;
      await connection.call(path, encode({ TTL: TTL_SECONDS, ID: id }));
    }
  };
  try {
    await Promise.all(Array.from({ length: GRANTS_IN_FLIGHT }, granter));
  } finally {
    connection.close();
  }
}

/** Each stream renews its share of the leases, over and over. */
async function keepAlive(url: string, leases: number): Promise<readonly Figure[]> {
  const connections = await Promise.all(Array.from({ length: CONNECTIONS }, () => GrpcConnection.open(url)));
  const timer = setTimeout(() => {
    for (const connection of connections) connection.close();
  }, PATIENCE_MS);
  try {
    const startedMs = performance.now();
    const latenciesMs = await Promise.all(
      Array.from({ length: STREAMS }, (_, stream) => {
        const ids = idsOf(stream, leases);
        return renewOnStream(connections[stream % CONNECTIONS]!, ids);
      }),
    );
    const all = latenciesMs.flat();
    const seconds = (performance.now() - startedMs) / 1000;
    return [
      { name: 'keep-alives', unit: 'req/s', value: all.length / seconds },
      ...latencyFigures(spread(all)),
    ];
  } finally {
    clearTimeout(timer);
    for (const connection of connections) connection.close();
  }
}

function idsOf(stream: number, leases: number): readonly number[] {
  return Array.from({ length: leases }, (_, at) => at + 1).filter((id) => id % STREAMS === stream);
}

/** @returns the latency of every keep-alive @throws Error when the stream ends, or a lease is not renewed */
function renewOnStream(connection: GrpcConnection, ids: readonly number[]): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    const { path, encode, decode } = METHODS.leaseKeepAlive;
    const latenciesMs: number[] = [];
    const sentMs = new Map<number, number>();
    const total = ids.length * ROUNDS;
    let sent = 0;
    const send = connection.stream(path, {
      message: (bytes) => {
        const { ID, TTL } = decode(bytes);
        const at = sentMs.get(Number(ID));
        if (at === undefined || Number(TTL) <= 0) return reject(new Error(`lease ${ID} was not renewed`));
        latenciesMs.push(performance.now() - at);
        if (latenciesMs.length === total) resolve(latenciesMs);
        else sendNext();
      },
      end: (status) => reject(new Error(`a stream of keep-alives ended with status ${status}`)),
    });
    const sendNext = (): void => {
      if (sent === total) return;
      const id = ids[sent % ids.length]!;
      sent += 1;
      sentMs.set(id, performance.now());
      send(encode({ ID: id }));
    };
    // No lease twice at a time: its answer would not say which one it is.
    for (let i = 0; i < Math.min(IN_FLIGHT, ids.length); i++) sendNext();
  });
}
