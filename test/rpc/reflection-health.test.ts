import { afterEach, beforeEach, expect, test } from 'vitest';
import { fileDescriptions } from '../../src/rpc/codec.ts';
import { registerHealth } from '../../src/rpc/health.ts';
import { registerReflection } from '../../src/rpc/reflection.ts';
import { failure, Harness } from './harness.ts';

const REFLECTION = [
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
] as const;
const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;

let harness: Harness;
let serving = true;
const listeners = new Set<() => void>();

function setServing(value: boolean): void {
  serving = value;
  for (const listener of listeners) listener();
}

beforeEach(async () => {
  serving = true;
  listeners.clear();
  harness = new Harness();
  harness.server.unary('/etcdserverpb.KV/Range', async (request) => request);
  registerHealth(harness.server, {
    serving: () => serving,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  });
  registerReflection(harness.server);
  await harness.start();
});
afterEach(async () => {
  await harness[Symbol.asyncDispose]();
});

test.each(REFLECTION)('%s lists services and hands out descriptors', async (path) => {
  const stream = harness.stream(path);
  stream.send({ host: 'h', list_services: '' });
  const listed = await stream.next();
  expect(listed.valid_host).toBe('h');
  expect(listed.original_request?.list_services).toBe('');
  expect(listed.list_services_response?.service.map((service) => service.name)).toEqual([
    'etcdserverpb.KV',
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
    'grpc.reflection.v1alpha.ServerReflection',
  ]);

  const files = new Map(fileDescriptions().map((file) => [file.name, file.bytes]));
  stream.send({ file_containing_symbol: 'etcdserverpb.KV' });
  const bySymbol = (await stream.next()).file_descriptor_response;
  expect(bySymbol?.file_descriptor_proto).toEqual([
    files.get('etcdserverpb/rpc.proto'),
    files.get('authpb/auth.proto'),
    files.get('mvccpb/kv.proto'),
  ]);
  stream.send({ file_by_filename: 'mvccpb/kv.proto' });
  const byName = (await stream.next()).file_descriptor_response;
  expect(byName?.file_descriptor_proto).toEqual([files.get('mvccpb/kv.proto')]);

  stream.send({ file_containing_symbol: 'no.Such' });
  expect((await stream.next()).error_response).toMatchObject({ error_code: 5 });
  stream.send({ file_containing_extension: { containing_type: 'mvccpb.KeyValue', extension_number: 7 } });
  expect((await stream.next()).error_response).toMatchObject({ error_code: 5 });
  stream.send({ all_extension_numbers_of_type: 'mvccpb.KeyValue' });
  expect((await stream.next()).all_extension_numbers_response).toMatchObject({
    base_type_name: 'mvccpb.KeyValue',
  });
  stream.call.end();
  expect((await stream.status).code).toBe(0);
});

test('health says whether the server and its services take requests', async () => {
  const check = (service: string): Promise<{ status: number }> =>
    harness.unary('/grpc.health.v1.Health/Check', { service });
  expect((await check('')).status).toBe(SERVING);
  expect((await check('etcdserverpb.KV')).status).toBe(SERVING);
  setServing(false);
  expect((await check('')).status).toBe(NOT_SERVING);
  expect((await failure(check('no.Such'))).code).toBe(5);
  const { statuses } = await harness.unary('/grpc.health.v1.Health/List', {});
  expect(statuses['']?.status).toBe(NOT_SERVING);
  expect(Object.keys(statuses).toSorted()).toEqual(['', 'etcdserverpb.KV']);
});

test('a health watch tells every change and lets go of its source at the end', async () => {
  const stream = harness.stream('/grpc.health.v1.Health/Watch');
  stream.send({ service: '' });
  stream.call.end();
  expect((await stream.next()).status).toBe(SERVING);
  setServing(true);
  setServing(false);
  expect((await stream.next()).status).toBe(NOT_SERVING);
  setServing(true);
  expect((await stream.next()).status).toBe(SERVING);
  const unknown = harness.stream('/grpc.health.v1.Health/Watch');
  unknown.send({ service: 'no.Such' });
  unknown.call.end();
  expect((await unknown.next()).status).toBe(SERVICE_UNKNOWN);
  await harness.port.close({ graceMs: 1000 });
  expect((await stream.status).code).toBe(14);
  await unknown.status;
  expect(listeners.size).toBe(0);
});
