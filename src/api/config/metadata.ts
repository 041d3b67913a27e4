/** The gRPC service of this package. */
export const CONFIGURATION_SERVICE = 'config.v1.ConfigurationService';

/** Request headers that say something about a call of the configuration service. */
export const HEADER = {
  token: 'token',
  authorization: 'authorization',
  /** How the caller names itself, where the store does not authenticate. */
  user: 'x-conclave-user',
  tenant: 'x-conclave-tenant',
  agent: 'user-agent',
  /** `strong`, `bounded` or `eventual`. */
  consistency: 'conclave-consistency',
  /** Of bounded reads. */
  maxStalenessMs: 'max-staleness-ms',
  /** `false`: secrets stay masked, and nothing is recorded. */
  reveal: 'conclave-reveal',
  /** Of a stream: the revision, or cursor, to go on from. In answers: the one that they reflect, or the stream begins after. */
  revision: 'conclave-revision',
  /** Of a stream: the instance of the application that takes it, its version and its region. */
  instance: 'conclave-instance',
  instanceVersion: 'conclave-instance-version',
  instanceRegion: 'conclave-instance-region',
} as const;

/** Those that go along to where the service runs. */
export const METADATA: readonly string[] = Object.values(HEADER);
