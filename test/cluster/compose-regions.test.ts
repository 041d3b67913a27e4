import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import {
  LEADER_REGIONS,
  REGION_MEMBERS,
  ROUND_TRIPS,
  regionFlags,
  roundTripsText,
  timersFor,
} from '../../cluster/region-layout.ts';
import { parseServerOptions } from '../../src/options.ts';

/** The compose file cannot be run by the tests; what it says is held to the constants that `npm run regions` runs. */

interface Service {
  readonly build: { readonly context: string; readonly dockerfile: string };
  readonly hostname?: string;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly privileged?: boolean;
}

const ROOT = join(import.meta.dirname, '../..');
const compose = parse(readFileSync(join(ROOT, 'cluster/compose.regions.yaml'), 'utf8'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const { services } = compose;
const peerUrl = ({ peerPort }: { readonly peerPort: number }): string => `http://wan:${peerPort}`;
const clusterOf = (members: readonly (typeof REGION_MEMBERS)[number][]): string =>
  members.map((member) => `${member.name}=${peerUrl(member)}`).join(',');
const voters = REGION_MEMBERS.filter(({ learner }) => !learner);

test('there is a service for each member, the network between them and the one who adds the learner', () => {
  expect(Object.keys(services).toSorted()).toEqual(
    ['admit', 'wan', ...REGION_MEMBERS.map(({ name }) => name)].toSorted(),
  );
  expect(Object.keys(compose.volumes)).toEqual(REGION_MEMBERS.map(({ name }) => name));
});

test.each(REGION_MEMBERS)('$name has the ports, the region and the peers of npm run regions', (member) => {
  const { environment = {}, ports, volumes, hostname } = services[member.name]!;
  expect(hostname).toBe(member.name);
  expect(ports).toEqual([`${member.clientPort}:2379`, `${member.httpPort}:8080`]);
  expect(volumes).toEqual([`${member.name}:/data`]);
  expect(environment).toMatchObject({
    CONCLAVE_NAME: member.name,
    CONCLAVE_REGION: member.region,
    CONCLAVE_ADVERTISE_CLIENT_URLS: `http://${member.name}:2379`,
    CONCLAVE_INITIAL_ADVERTISE_PEER_URLS: peerUrl(member),
    CONCLAVE_INITIAL_CLUSTER: clusterOf(member.learner ? REGION_MEMBERS : voters),
  });
  expect(environment['CONCLAVE_INITIAL_CLUSTER_STATE'] ?? 'new').toBe(member.learner ? 'existing' : 'new');
});

test.each(REGION_MEMBERS)('$name has the timers and preferences of npm run regions', (member) => {
  const { environment = {} } = services[member.name]!;
  for (const flag of regionFlags(member.region, timersFor(ROUND_TRIPS))) {
    const [, name, value] = /^--([a-z-]+)=(.*)$/.exec(flag)!;
    expect([name, environment[`CONCLAVE_${name!.replaceAll('-', '_').toUpperCase()}`]]).toEqual([
      name,
      value,
    ]);
  }
});

test('members take every option that the file gives them', () => {
  for (const { name, region } of REGION_MEMBERS) {
    const options = parseServerOptions([], {
      env: services[name]!.environment!,
      readFile: () => {
        throw new Error('no file is named');
      },
    });
    expect(options).toMatchObject({ name, region, leaderRegions: LEADER_REGIONS });
  }
});

test('the network has the same round trips, and no rights that a container lacks', () => {
  const { entrypoint, command } = services['wan']!;
  expect(command).toEqual(['--round-trips', roundTripsText(ROUND_TRIPS)]);
  const program = entrypoint!.at(-1)!.replace('/app/dist/', '').replace('.js', '.ts');
  expect(existsSync(join(ROOT, program))).toBe(true);
  for (const { privileged, cap_add } of Object.values(services)) {
    expect([privileged, cap_add]).toEqual([undefined, undefined]);
  }
});

test('the learner is added under the address that it has', () => {
  const learner = REGION_MEMBERS.find((member) => member.learner)!;
  const [line] = services['admit']!.command!;
  expect(line).toBe(
    `conclave member list | grep -q ${peerUrl(learner)} || conclave member add ${learner.name} --learner --peer-urls ${peerUrl(learner)}`,
  );
});

test('images are built from files that exist', () => {
  for (const { build } of Object.values(services)) {
    expect(existsSync(join(ROOT, 'cluster', build.context, build.dockerfile))).toBe(true);
  }
});
