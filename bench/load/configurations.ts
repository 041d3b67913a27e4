import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { codec } from '../../src/rpc/codec.ts';
import { GrpcConnection } from './grpc-connection.ts';
import { type HttpFigures, httpLoad, type UnaryFigures, unaryLoad } from './h2load.ts';
import { type HttpAnswer, HttpClient } from './http-client.ts';

/** Loads of the configuration service, whose answers are checked. */

export const APPLICATION = 'bench';
export const ENVIRONMENT = 'production';
const GET_CONFIGURATION = '/config.v1.ConfigurationService/GetConfiguration';
const MESSAGE_HEAD_BYTES = 5;

/** How fresh a read is to be. */
export type Freshness = 'eventual' | 'bounded' | 'strong';

/** A configuration that is there. */
export interface Known {
  readonly id: string;
  readonly key: string;
  readonly value: unknown;
}

/** Creates a configuration. @throws Error when it cannot be */
export async function create(client: HttpClient, key: string, value: unknown): Promise<Known> {
  const body = { application: APPLICATION, environment: ENVIRONMENT, key, value };
  const { id } = await client.json<{ id: string }>({ method: 'POST', path: PATH, body });
  return { id, key, value };
}

const PATH = '/api/v1/configurations';

export function pathOf({ id }: Known): string {
  return `${PATH}/${id}`;
}

/** What one load of reads asks for. */
export interface RestReads {
  readonly url: string;
  readonly known: Known;
  readonly freshness: Freshness;
  readonly requests: number;
  readonly connections: number;
  readonly perSecond?: number;
  /** Whether the caller has the answer already, and shows its entity tag. */
  readonly has: boolean;
}

/** GETs of one configuration. @throws Error unless each was answered with what is there, or with 304 */
export async function restReads(reads: RestReads): Promise<HttpFigures> {
  const { url, known, freshness, has, ...load } = reads;
  const path = `${pathOf(known)}?consistency=${freshness}`;
  const { body, headers } = await rightAnswer(url, { path, known });
  const shown = has ? { headers: { 'if-none-match': headers.etag! } } : {};
  const figures = await httpLoad({ url, path, ...shown, ...load });
  const bytes = has ? 0 : body.length * load.requests;
  const answered = has ? figures.notModified : figures.found;
  if (figures.dataBytes !== bytes || answered !== load.requests) {
    throw new Error(`${answered} of ${load.requests} answers, with ${figures.dataBytes} bytes, not ${bytes}`);
  }
  return figures;
}

async function rightAnswer(
  url: string,
  { path, known }: { readonly path: string; readonly known: Known },
): Promise<HttpAnswer> {
  const client = new HttpClient(url, 1);
  try {
    // A strong read has brought the server up to date before it is asked for what it has.
    await client.call({ path: pathOf(known) });
    const answer = await client.call({ path });
    const { value } = JSON.parse(answer.body.toString()) as { readonly value: unknown };
    if (JSON.stringify(value) !== JSON.stringify(known.value)) throw new Error('another value was read');
    return answer;
  } finally {
    client.close();
  }
}

/** The same bytes from a server that does nothing else, in this process: what no service on Node can beat by much. */
export async function bareReads(reads: Omit<RestReads, 'has'>): Promise<HttpFigures> {
  const { url, known, freshness, ...load } = reads;
  const path = `${pathOf(known)}?consistency=${freshness}`;
  const { body, headers } = await rightAnswer(url, { path, known });
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': headers['content-type'], etag: headers.etag });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const bare = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return await httpLoad({ url: bare, path, ...load });
  } finally {
    server.close();
  }
}

/** GetConfiguration over gRPC. @throws Error unless all answers together have the size of right ones */
export async function grpcReads(reads: {
  readonly url: string;
  readonly known: Known;
  readonly freshness: Freshness;
  readonly requests: number;
  readonly connections: number;
  readonly streams: number;
}): Promise<UnaryFigures> {
  const { known, freshness, ...load } = reads;
  const message = codec('config.v1.GetConfigurationRequest').encode({
    application: APPLICATION,
    environment: ENVIRONMENT,
    key: known.key,
  });
  const connection = await GrpcConnection.open(load.url);
  try {
    const answer = await connection.call(GET_CONFIGURATION, message);
    const { value } = codec('config.v1.ConfigurationResponse').decode(answer);
    if (value !== known.value) throw new Error('another value was read');
    const headers = { 'conclave-consistency': freshness };
    const figures = await unaryLoad({ ...load, path: GET_CONFIGURATION, message, headers });
    const bytes = (MESSAGE_HEAD_BYTES + answer.length) * load.requests;
    if (figures.dataBytes !== bytes) throw new Error(`${figures.dataBytes} bytes came, not ${bytes}`);
    return figures;
  } finally {
    connection.close();
  }
}
