import type { Finding } from '../../../../service/configurations/findings.ts';
import type { EffectiveView } from '../../../../service/configurations/reads.ts';
import { spellEnvironment } from '../../../../service/environments/spelling.ts';
import type { ConfigurationView, VersionView } from '../../../../service/views.ts';
import { textValueOf, typesOf, versionIdOf } from './values.ts';

/** 002's ConfigurationSummary, with extensions. */
export function summaryOf(view: ConfigurationView) {
  const { id, key, application, description, createdAt, updatedAt, tags, version } = view;
  return {
    id,
    key,
    application,
    environment: spellEnvironment(view.environment, 'short'),
    description,
    ...typesOf(view.value.type),
    tags,
    version,
    createdAt,
    updatedAt,
  };
}

/** 002's ConfigurationResponse, with extensions. */
export function responseOf(view: ConfigurationView, findings: readonly Finding[] = []) {
  const { id, key, application, description, configType, schema, tags, version, expiresAt } = view;
  const { createdBy, createdAt, updatedBy, updatedAt } = view;
  return {
    id,
    key,
    application,
    environment: spellEnvironment(view.environment, 'short'),
    description,
    ...textValueOf(view.value),
    ...(schema === null ? {} : { schema }),
    tags,
    version,
    createdBy,
    createdAt,
    updatedBy,
    updatedAt,
    configType,
    ...(expiresAt === null ? {} : { expiresAt }),
    ...(findings.length === 0
      ? {}
      : { warnings: findings.map(({ field, message }) => ({ field, message })) }),
  };
}

/** 002's ConfigurationVersion, with extensions. */
export function versionOfView(view: VersionView) {
  const { configurationId, version, createdBy, createdAt, reason, isDeleted, revision } = view;
  return {
    id: versionIdOf(configurationId, version),
    configId: configurationId,
    version,
    ...textValueOf(view.value),
    createdBy,
    createdAt,
    changeDescription: reason,
    deleted: isDeleted,
    revision,
  };
}

/** 002's ConfigurationValue, with extensions: what holds for a key. */
export function valueOf({ key, value, version, source, environment }: EffectiveView) {
  const from = environment === null ? {} : { environment: spellEnvironment(environment, 'short') };
  return { key, ...textValueOf(value), version: version ?? 0, source, ...from };
}
