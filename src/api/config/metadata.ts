import { SCOPE_HEADER } from '../flag-scope.ts';

/** The gRPC service of this package. */
export const CONFIGURATION_SERVICE = 'config.v1.ConfigurationService';

/** Those of flags: flagd's, in both versions of its evaluation, and the one of this package's client. */
export const FLAG_SERVICES: readonly string[] = [
  'flagd.evaluation.v1.Service',
  'flagd.evaluation.v2.Service',
  'flagd.sync.v1.FlagSyncService',
  'flags.v1.FlagService',
];

/** Request headers that say something about a call of the configuration service. */
export const HEADER = {
  token: 'token',
  authorization: 'authorization',
  /** How the caller names itself, where the store does not authenticate. */
  user: 'x-conclave-user',
  tenant: SCOPE_HEADER.tenant,
  agent: 'user-agent',
  /** `strong`, `bounded` or `eventual`. */
  consistency: 'conclave-consistency',
  /** Of bounded reads. */
  maxStalenessMs: 'max-staleness-ms',
  /** `false`: secrets stay masked, and nothing is recorded. */
  reveal: 'conclave-reveal',
  /** Of a stream: the revision, or cursor, to go on from. In answers: the one that they reflect, or the stream begins after. */
  revision: 'conclave-revision',
  /** Whose flags are meant, in flagd's way. */
  flagdSelector: 'flagd-selector',
  /** The same in ours. */
  application: SCOPE_HEADER.application,
  environment: SCOPE_HEADER.environment,
  /** Of a stream: the instance of the application that takes it, its version and its region. */
  instance: 'conclave-instance',
  instanceVersion: 'conclave-instance-version',
  instanceRegion: 'conclave-instance-region',
} as const;

/** Those that go along to where the service runs. */
export const METADATA: readonly string[] = Object.values(HEADER);
