import { afterAll, beforeAll, describe } from 'vitest';
import { Cluster } from '../../support/cluster.ts';
import { coreTests, type Place } from './core.ts';
import { Face } from './face.ts';
import { KeyFile } from './key-file.ts';

describe('the service of a cluster of three', () => {
  let keys: KeyFile;
  let cluster: Cluster;
  let place: Place;

  beforeAll(async () => {
    keys = new KeyFile();
    cluster = await Cluster.start(3, [keys.flag]);
    const processes = cluster.members.map(({ process }) => process!);
    await Promise.all(processes.map((process) => process.logged('the configuration service is served')));
    place = {
      faces: await Promise.all(cluster.members.map(({ httpUrl }) => Face.of(httpUrl))),
      clientUrls: cluster.members.map(({ clientUrl }) => clientUrl),
      storeUrls: cluster.members.map(({ clientUrl }) => clientUrl),
      logs: () => processes.map(({ log }) => log),
      directories: [cluster.directory],
    };
  });
  afterAll(async () => {
    await cluster?.destroy();
    keys[Symbol.dispose]();
  });

  coreTests(() => place);
});
