import type { ContentInput } from '../../../service/configurations/content.ts';
import type { ConfigurationRef } from '../../../service/configurations/refs.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import type { ConfigType, ConfigurationName, Json, ValueType } from '../../../service/model.ts';
import { invalid } from '../../../service/service-error.ts';

/** A configuration by its id, or by its name. */
export interface RefBody {
  readonly id?: string;
  readonly application?: string;
  readonly environment?: string;
  readonly key?: string;
}

/** What a request may say of a configuration. */
export interface ContentBody {
  readonly value?: Json;
  readonly type?: ValueType;
  readonly configType?: ConfigType;
  readonly description?: string;
  readonly schema?: string | null;
  readonly tags?: readonly string[];
  readonly expiresAt?: string | null;
  readonly ttlSeconds?: number;
}

export interface NameBody {
  readonly application: string;
  readonly environment: string;
  readonly key: string;
}

/** @param place before the names of the fields: empty, or like `items/3/`. @throws ServiceError `invalid` */
export function refOf(tenant: string, body: RefBody, place = ''): ConfigurationRef {
  const { id, application, environment, key } = body;
  const isNamed = application !== undefined || environment !== undefined || key !== undefined;
  if (id !== undefined) {
    if (isNamed)
      throw invalid({ field: `${place}id`, message: 'goes without application, environment and key' });
    return { tenant, id };
  }
  const missing = Object.entries({ application, environment, key }).filter(
    ([, value]) => value === undefined,
  );
  if (missing.length > 0) {
    throw invalid(...missing.map(([field]) => ({ field: `${place}${field}`, message: 'is missing' })));
  }
  return {
    tenant,
    environment: environmentId(environment!, `${place}environment`),
    application: application!,
    key: key!,
  };
}

/** @param place as of `refOf`. @throws ServiceError `invalid` */
export function nameOf(
  tenant: string,
  { application, environment, key }: NameBody,
  place = '',
): ConfigurationName {
  return { tenant, environment: environmentId(environment, `${place}environment`), application, key };
}

export function contentOf(body: ContentBody): ContentInput {
  const { type, configType, description, schema, tags, expiresAt, ttlSeconds } = body;
  return {
    ...(body.value === undefined ? {} : { value: { json: body.value } }),
    type,
    configType,
    description,
    schema,
    tags,
    expiresAt,
    ttlSeconds,
  };
}

/**
 * A JSON Merge Patch (RFC 7396) of a configuration as it is shown: null makes a member what it is by default, and
 * `value` is a patch of the value itself.
 *
 * @throws ServiceError `invalid` for a patch that takes the value away
 */
export function patchOf(body: ContentBody & { readonly [field: string]: unknown }): ContentInput {
  const { value, description, tags, type, configType } = body;
  if (value === null)
    throw invalid({ field: 'value', message: 'cannot be taken away: delete the configuration' });
  for (const [field, member] of Object.entries({ type, configType })) {
    if (member === null) throw invalid({ field, message: 'cannot be taken away' });
  }
  const { schema, expiresAt, ttlSeconds } = body;
  return {
    ...(value === undefined ? {} : { mergePatch: value }),
    type,
    configType,
    description: description === null ? '' : description,
    schema,
    tags: tags === null ? [] : tags,
    expiresAt,
    ttlSeconds,
  };
}
