import { codec } from '../../src/rpc/codec.ts';
import { type UnaryLoad, unaryLoad } from '../h2load.ts';
import { type Figure, type Question, withCores } from '../question.ts';
import type { ServerCluster } from '../server-cluster.ts';

/** What is measured and what warms up before it. */
const REQUESTS = 100_000;
const WARM_UP_REQUESTS = 20_000;
const CONNECTIONS = 50;
const STREAMS = 10;
const VALUE_BYTES = 1024;
const KEY = Buffer.from('bench/key');
const VALUE = Buffer.alloc(VALUE_BYTES, 'v');
const LOAD = `${REQUESTS} calls of one key with a value of ${VALUE_BYTES} bytes, ${CONNECTIONS} connections of ${STREAMS} calls in flight, after ${WARM_UP_REQUESTS}`;

interface Call {
  readonly path: string;
  readonly message: Buffer;
}
const PUT: Call = {
  path: '/etcdserverpb.KV/Put',
  message: codec('etcdserverpb.PutRequest').encode({ key: KEY, value: VALUE }),
};
const RANGE: Call = {
  path: '/etcdserverpb.KV/Range',
  message: codec('etcdserverpb.RangeRequest').encode({ key: KEY }),
};
const SERIALIZABLE_RANGE: Call = {
  path: '/etcdserverpb.KV/Range',
  message: codec('etcdserverpb.RangeRequest').encode({ key: KEY, serializable: true }),
};

/** Questions about one kind of unary call at one member. */
export const UNARY_QUESTIONS: readonly Question[] = [
  { name: 'put to the leader', load: LOAD, measure: (cluster) => measurePuts(cluster) },
  {
    name: 'linearizable range at the leader',
    load: LOAD,
    measure: (cluster) => measureRanges(cluster, RANGE, 'leader'),
  },
  {
    name: 'linearizable range at a follower',
    load: LOAD,
    measure: (cluster) => measureRanges(cluster, RANGE, 'follower'),
  },
  {
    name: 'serializable range',
    load: LOAD,
    measure: (cluster) => measureRanges(cluster, SERIALIZABLE_RANGE, 'follower'),
  },
];

/** Every call must have made a revision. */
async function measurePuts(cluster: ServerCluster): Promise<readonly Figure[]> {
  const { leader } = await cluster.roles();
  const client = cluster.client([leader]);
  try {
    await unaryLoad(loadOf(leader, PUT, WARM_UP_REQUESTS));
    const before = (await client.range({ key: KEY })).header.revision;
    const figures = await withCores(cluster, () => figuresOf(loadOf(leader, PUT, REQUESTS)));
    const { header, kvs } = await client.range({ key: KEY });
    if (header.revision - before !== REQUESTS || kvs[0]?.value.equals(VALUE) !== true) {
      throw new Error(`${header.revision - before} of ${REQUESTS} puts took effect`);
    }
    return figures;
  } finally {
    client.close();
  }
}

/** Every answer must have carried the value. */
async function measureRanges(
  cluster: ServerCluster,
  call: Call,
  where: 'leader' | 'follower',
): Promise<readonly Figure[]> {
  const { leader, followers } = await cluster.roles();
  const url = where === 'leader' ? leader : followers[0]!;
  const client = cluster.client();
  try {
    await client.put({ key: KEY, value: VALUE });
    await client.range({ key: KEY });
  } finally {
    client.close();
  }
  await unaryLoad(loadOf(url, call, WARM_UP_REQUESTS));
  return withCores(cluster, () => figuresOf(loadOf(url, call, REQUESTS), VALUE_BYTES));
}

function loadOf(url: string, { path, message }: Call, requests: number): UnaryLoad {
  return { url, path, message, requests, connections: CONNECTIONS, streams: STREAMS };
}

async function figuresOf(load: UnaryLoad, answerBytesMin = 0): Promise<readonly Figure[]> {
  const { requestsPerSecond, p50Ms, p99Ms, dataBytes } = await unaryLoad(load);
  if (dataBytes < load.requests * answerBytesMin) throw new Error('some answers carried no value');
  return [
    { name: 'calls', unit: 'req/s', value: requestsPerSecond },
    { name: 'p50', unit: 'ms', value: p50Ms },
    { name: 'p99', unit: 'ms', value: p99Ms },
  ];
}
