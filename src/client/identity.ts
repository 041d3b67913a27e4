import { asClientError, ClientError } from './client-error.ts';
import type { Connection } from './connection.ts';
import { LinkedSignal } from './linked-signal.ts';
import { header, METHODS, watchRequest } from './wire.ts';

/** Which member of which cluster. */
export interface Identity {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

/**
 * Who says to be at an endpoint that is shown nothing: no token, no key of the user's. A watch is asked for, since its
 * answer names the member even where it is a refusal for the lack of a token.
 *
 * @throws ClientError
 */
export async function identityAt(
  connection: Connection,
  limits: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Identity> {
  using link = new LinkedSignal([limits.signal], limits.timeoutMs);
  const stream = await connection.duplex(METHODS.watch, { signal: link.signal });
  try {
    stream.write(watchRequest({ key: Buffer.from([0]) }, 0));
    for await (const response of stream as AsyncIterable<{ readonly header: Parameters<typeof header>[0] }>) {
      const { memberId, clusterId } = header(response.header);
      return { memberId, clusterId };
    }
    throw new ClientError('unavailable', `${connection.address} does not say who it is`);
  } catch (error) {
    throw asClientError(error);
  } finally {
    stream.cancel();
  }
}
