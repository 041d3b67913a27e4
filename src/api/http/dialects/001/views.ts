import type { EffectiveView } from '../../../../service/configurations/reads.ts';
import { spellEnvironment } from '../../../../service/environments/spelling.ts';
import type { ConfigurationView } from '../../../../service/views.ts';

/** 001's Configuration, of what was changed. */
export function configurationOf(view: ConfigurationView) {
  return {
    config_key: view.key,
    config_value: view.value.json,
    config_type: view.configType,
    environment: spellEnvironment(view.environment, 'long'),
    service_name: view.application,
    description: view.description,
    is_encrypted: view.value.type === 'secret',
    version: view.version,
    created_at: view.createdAt,
    updated_at: view.updatedAt,
  };
}

/** 001's Configuration, of what holds in an environment: also what it inherits, and defaults, which have version 0. */
export function effectiveOf(
  view: EffectiveView,
  { environment, application }: { readonly environment: string; readonly application: string },
) {
  const { key, value, configType, description, version, createdAt, updatedAt, source } = view;
  return {
    config_key: key,
    config_value: value.json,
    config_type: configType,
    environment: spellEnvironment(environment, 'long'),
    service_name: application,
    description,
    is_encrypted: value.type === 'secret',
    version: version ?? 0,
    created_at: createdAt,
    updated_at: updatedAt,
    source,
    ...(source === 'inherited' ? { inherited_from: spellEnvironment(view.environment ?? '', 'long') } : {}),
  };
}
