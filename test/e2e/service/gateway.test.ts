import { afterAll, beforeAll, describe } from 'vitest';
import { freePorts } from '../../../cluster/free-ports.ts';
import { ServerProcess } from '../../support/server-process.ts';
import { etcdBinary, type Server, startConclave, startEtcd } from '../differential/server.ts';
import { coreTests, type Place } from './core.ts';
import { Face } from './face.ts';
import { KeyFile } from './key-file.ts';

const BINARY = etcdBinary();

interface Gateway {
  readonly process: ServerProcess;
  readonly httpUrl: string;
  readonly clientUrl: string;
}

describe.each([
  { name: 'Conclave', start: () => startConclave(), skip: false },
  {
    name: 'a real etcd (needs ETCD_BIN)',
    start: () => startEtcd(BINARY!),
    // In CI it must be there.
    skip: BINARY === null && process.env['CI'] !== 'true',
  },
])('two gateways before $name', ({ start, skip }) => {
  describe.skipIf(skip)('do what members do', () => {
    let keys: KeyFile;
    let store: Server;
    let gateways: readonly Gateway[] = [];
    let place: Place;

    beforeAll(async () => {
      keys = new KeyFile();
      store = await start();
      gateways = await Promise.all([0, 1].map(() => startGateway(store.clientUrl, keys.flag)));
      place = {
        faces: await Promise.all(gateways.map(({ httpUrl }) => Face.of(httpUrl))),
        clientUrls: gateways.map(({ clientUrl }) => clientUrl),
        storeUrls: [store.clientUrl],
        logs: () => [store.log(), ...gateways.map((gateway) => gateway.process.log)],
        directories: [],
      };
    });
    afterAll(async () => {
      await Promise.all(gateways.map((gateway) => gateway.process.stop('SIGKILL')));
      await store?.destroy();
      keys[Symbol.dispose]();
    });

    coreTests(() => place);
  });
});

async function startGateway(endpoint: string, ...flags: readonly string[]): Promise<Gateway> {
  const [http, client] = await freePorts(2);
  const [httpUrl, clientUrl] = [`http://127.0.0.1:${http}`, `http://127.0.0.1:${client}`];
  const words = [
    `--endpoints=${endpoint}`,
    `--listen-http-urls=${httpUrl}`,
    `--listen-client-urls=${clientUrl}`,
  ];
  const gateway = new ServerProcess([...words, ...flags], {}, { command: 'gateway' });
  await gateway.ready();
  return { process: gateway, httpUrl, clientUrl };
}
