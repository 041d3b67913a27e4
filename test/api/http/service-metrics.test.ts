import { expect, test } from 'vitest';
import { APPLICATIONS_SHOWN_MAX, ServiceMetrics } from '../../../src/api/http/service-metrics.ts';
import { observed, type UseOfService } from '../../../src/service/observed.ts';
import { failure } from '../../service/failure.ts';
import { ada, inWorld, named } from '../../service/world.ts';

/** The value of a line, or null when there is none. */
function valueOf(page: string, line: string): number | null {
  const escaped = line.replaceAll(/[{}"().*+?[\]|]/g, '\\$&');
  const found = new RegExp(`^${escaped} (.*)$`, 'm').exec(page);
  return found === null ? null : Number(found[1]);
}

test('reads, changes, roll-backs, rejections and applications are counted, and how fresh reads were', async () => {
  await inWorld(async ({ service: plain, memory }) => {
    const metrics = new ServiceMetrics({ service: plain, kv: memory });
    const service = observed(plain, metrics.observer);
    await service.configurations.create(ada, { name: named('k'), value: { json: 1 } });
    await service.configurations.update(ada, { ref: named('k'), value: { json: 2 } });
    await service.history.rollback(ada, { ref: named('k'), version: 1 });
    await service.reads.lookup(ada, { name: named('k') });
    await service.reads.lookup(ada, { name: named('k'), consistency: { type: 'eventual' } });
    await expect(service.reads.lookup(ada, { name: named('none') })).rejects.toEqual(failure('not-found'));
    await expect(
      service.configurations.create(ada, { name: named('k'), value: { json: 1 } }),
    ).rejects.toEqual(failure('exists', 'key'));
    const page = await metrics.render();
    metrics.close();
    const lines: Readonly<Record<string, number>> = {
      'conclave_service_updates_total{use_case="configurations.create"}': 1,
      'conclave_service_updates_total{use_case="configurations.update"}': 1,
      'conclave_service_updates_total{use_case="history.rollback"}': 1,
      conclave_service_rollbacks_total: 1,
      conclave_service_update_seconds_count: 3,
      'conclave_service_reads_total{use_case="reads.lookup",consistency="strong"}': 1,
      'conclave_service_reads_total{use_case="reads.lookup",consistency="eventual"}': 1,
      'conclave_service_rejections_total{cause="not-found",access="read"}': 1,
      'conclave_service_rejections_total{cause="exists",access="write"}': 1,
      'conclave_service_application_requests_total{application="pay",access="read"}': 2,
      'conclave_service_application_requests_total{application="pay",access="write"}': 3,
      'conclave_service_changes_total{operation="rollback"}': 1,
      conclave_service_propagation_seconds_count: 3,
      conclave_service_projection_revision: plain.projection.revision,
      conclave_service_projection_lag_revisions: 0,
      conclave_service_projection_live: 1,
      conclave_service_configurations: 1,
      conclave_service_subscribers: 0,
    };
    expect(Object.fromEntries(Object.keys(lines).map((line) => [line, valueOf(page, line)]))).toEqual(lines);
    const hits = valueOf(page, 'conclave_service_cache_reads_total{outcome="hit"}')!;
    const misses = valueOf(page, 'conclave_service_cache_reads_total{outcome="miss"}')!;
    expect(hits + misses).toBe(3);
    expect(valueOf(page, 'conclave_service_cache_hit_ratio')).toBeCloseTo(hits / 3);
  });
});

test('applications beyond the bound are counted together, and names without anything behind them are not', async () => {
  await inWorld(async ({ service, memory }) => {
    const metrics = new ServiceMetrics({ service, kv: memory });
    const use: UseOfService = {
      area: 'reads',
      useCase: 'get',
      access: 'read',
      application: null,
      consistency: 'strong',
      durationMs: 1,
      failure: null,
    };
    for (let at = 0; at < APPLICATIONS_SHOWN_MAX + 5; at += 1)
      metrics.observer({ ...use, application: `a${at}` });
    metrics.observer({ ...use, application: 'made-up', failure: 'not-found' });
    const page = await metrics.render();
    metrics.close();
    const line = (application: string): string =>
      `conclave_service_application_requests_total{application="${application}",access="read"}`;
    expect(valueOf(page, line('a0'))).toBe(1);
    expect(valueOf(page, line('(others)'))).toBe(5);
    expect(page).not.toContain('made-up');
  });
});

test('a store that does not answer leaves the lag unknown', async () => {
  await inWorld(async ({ service, memory }) => {
    const metrics = new ServiceMetrics({ service, kv: memory });
    await memory.close();
    expect(await metrics.render()).toContain('conclave_service_projection_lag_revisions Nan');
    metrics.close();
  });
});
