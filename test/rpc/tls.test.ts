import { get } from 'node:https';
import grpc from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { TEST_CERTIFICATE, TEST_KEY } from './certificate.ts';
import { failure, Harness } from './harness.ts';

const identity = (bytes: Buffer): Buffer => bytes;
const ca = Buffer.from(TEST_CERTIFICATE);
const key = Buffer.from(TEST_KEY);

async function echo(
  harness: Harness,
  credentials: grpc.ChannelCredentials,
  path = '/t.S/Echo',
): Promise<string> {
  const client = new grpc.Client(harness.address, credentials, {
    'grpc.ssl_target_name_override': 'localhost',
  });
  try {
    return await new Promise((resolve, reject) => {
      const done = (error: grpc.ServiceError | null, answer?: Buffer): void =>
        error === null ? resolve(String(answer)) : reject(error);
      client.makeUnaryRequest(path, identity, identity, Buffer.from('x'), done);
    });
  } finally {
    client.close();
  }
}

async function secureHarness(options: { readonly clientCertificates: boolean }): Promise<Harness> {
  const tls = { cert: TEST_CERTIFICATE, key: TEST_KEY };
  const harness = new Harness({
    tls: options.clientCertificates ? { ...tls, ca: TEST_CERTIFICATE } : tls,
    http: (_request, response) => response.end('over TLS'),
  });
  harness.server.unary('/t.S/Echo', async (request) => request);
  harness.server.unary('/t.S/Who', async (_request, call) => Buffer.from(call.certificateName ?? ''));
  const [address] = await harness.port.listen(['https://127.0.0.1:0']);
  expect(address!.url).toBe(`https://127.0.0.1:${address!.port}`);
  harness.address = `127.0.0.1:${address!.port}`;
  return harness;
}

function httpsGet(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { ca, servername: 'localhost' }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}

test('gRPC and HTTP/1.1 share a TLS port', async () => {
  await using harness = await secureHarness({ clientCertificates: false });
  expect(await echo(harness, grpc.credentials.createSsl(ca))).toBe('x');
  expect(await httpsGet(`https://${harness.address}/`)).toBe('over TLS');
  // A certificate that nobody asked for says nothing.
  expect(await echo(harness, grpc.credentials.createSsl(ca, key, ca), '/t.S/Who')).toBe('');
  // Whoever does not speak TLS is turned away.
  expect((await failure(echo(harness, grpc.credentials.createInsecure()))).code).toBe(14);
});

test('with an authority, clients need a certificate of it', async () => {
  await using harness = await secureHarness({ clientCertificates: true });
  const shown = grpc.credentials.createSsl(ca, key, ca);
  expect(await echo(harness, shown)).toBe('x');
  expect(await echo(harness, shown, '/t.S/Who')).toBe('conclave test');
  expect((await failure(echo(harness, grpc.credentials.createSsl(ca)))).code).toBe(14);
});
